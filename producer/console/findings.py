"""The results of the `doctor` commands' checks."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from rich.console import Console
from rich.markup import escape

from producer.contract.untrusted_text import escape_unprintable
from producer.observability.redact import redact


class Finding(NamedTuple):
    """The result of one check."""

    what: str
    ok: bool
    text: str
    """What was found; for a failed check also what to do."""

    def to_json(self) -> dict[str, Any]:
        """Return the finding as a JSON value without credentials."""
        return {"what": redact(self.what), "ok": self.ok, "text": redact(self.text)}


def show(findings: Iterable[Finding], console: Console) -> None:
    """Print one line per finding."""
    for finding in findings:
        sign = "[green]✓[/]" if finding.ok else "[red]✗[/]"
        console.print(f"{sign} [bold]{safe_text(finding.what)}[/]: {safe_text(finding.text)}")


def safe_text(text: str) -> str:
    """Return untrusted text for rich: without credentials, control characters, and markup."""
    return escape(escape_unprintable(redact(text)))
