"""What a doctor found: a check, whether it passed, and what to do if it did not."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from rich.console import Console
from rich.markup import escape

from producer.contract.untrusted_text import escape_unprintable
from producer.observability.redact import redact


class Finding(NamedTuple):
    """One check."""

    what: str
    ok: bool
    text: str
    """What was found; for a failed check also what to do about it."""

    def to_json(self) -> dict[str, Any]:
        """The finding as a JSON value, without credentials."""
        return {"what": redact(self.what), "ok": self.ok, "text": redact(self.text)}


def show(findings: Iterable[Finding], console: Console) -> None:
    """Print a line a finding."""
    for finding in findings:
        sign = "[green]✓[/]" if finding.ok else "[red]✗[/]"
        console.print(f"{sign} [bold]{safe_text(finding.what)}[/]: {safe_text(finding.text)}")


def safe_text(text: str) -> str:
    """A stranger's text for a terminal: no markup, no control characters, no credentials."""
    return escape(escape_unprintable(redact(text)))
