"""Markdown tables."""

import re
from collections.abc import Iterable


def table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table; cells are Markdown, and may hold line breaks and unescaped bars."""
    names = tuple(headings)
    lines = [names, ("---",) * len(names), *(tuple(map(cell, row)) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cell(text: str) -> str:
    """Escape what Markdown would interpret outside of code spans, and bars everywhere."""
    parts = re.split(r"(`[^`]+`)", " ".join(text.split()))
    escaped = (
        part if number % 2 else re.sub(r"([*<\[\]])", r"\\\1", part)
        for number, part in enumerate(parts)
    )
    return "".join(escaped).replace("|", r"\|")


def code(value: object) -> str:
    """Return a code span."""
    return f"`{value}`"
