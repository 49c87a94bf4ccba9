"""The results of the `doctor` commands' checks."""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from rich.console import Console
from rich.markup import escape

from producer.observability.redact import environment_secrets, redact, redact_line

_LONGEST_BYTES: Final = 8 * 1024
"""What a terminal shows of one text."""


_SIGNS: Final = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[dim]–[/]"}


class Finding(NamedTuple):
    """The result of one check."""

    what: str
    ok: bool | None
    """None: not checked."""
    text: str
    """What was found; for a failed check also what to do."""

    @property
    def passed(self) -> bool:
        """Whether the check did not fail; what was not checked has not failed."""
        return self.ok is not False

    def to_json(self) -> dict[str, Any]:
        """Return the finding as a JSON value without credentials."""
        secrets = environment_secrets()
        what, text = (redact(part, secrets=secrets) for part in (self.what, self.text))
        return {"what": what, "ok": self.ok, "text": text}


def show(findings: Iterable[Finding], console: Console) -> None:
    """Print one line per finding."""
    for finding in findings:
        console.print(
            f"{_SIGNS[finding.ok]} [bold]{safe_text(finding.what)}[/]: {safe_text(finding.text)}"
        )


def safe_text(text: str) -> str:
    """Return untrusted text for rich: bounded, without credentials, control characters, markup."""
    return escape(redact_line(text, _LONGEST_BYTES, secrets=environment_secrets()))
