"""Print the invalid lines of a manifest."""

from typing import Final

from producer.cli.terminal import errors, refuse, warn
from producer.console.findings import safe_text
from producer.sync.manifest.manifest import Manifest

_SHOWN: Final = 100
"""Number of invalid lines that are printed; the others are counted."""


def check_lines(manifest: Manifest, *, skip: bool) -> None:
    """Print the first invalid lines; unless `skip` is set, any of them ends the command."""
    bad = 0
    for line in manifest.check():
        bad += 1
        if bad <= _SHOWN:
            errors.print(f"[red]line {line.number}[/]: {safe_text(line.reason)}")
    if bad > _SHOWN:
        errors.print(f"… and {bad - _SHOWN:,} more invalid lines")
    if bad and not skip:
        advice = "correct them, or skip them with --skip-bad-lines"
        refuse(f"the manifest has {bad:,} invalid lines, and nothing was sent; {advice}")
    if bad:
        warn(f"{bad:,} invalid lines skipped")
