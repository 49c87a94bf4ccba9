"""Numbers, times and untrusted text in a form for people."""

import unicodedata
from datetime import UTC, datetime
from typing import Final

_REORDERING: Final = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
"""Invisible characters that change the direction of the text around them."""


def count(number: int) -> str:
    """Return a whole number with separators: `1,234`."""
    return f"{number:,}"


def three_digits(number: float) -> str:
    """Return a measured number with about three digits: `0.042`, `4.20`, `123`, `1,234`."""
    if number == 0 or number >= 99.95:
        return f"{number:,.0f}"
    if number >= 9.995:
        return f"{number:.1f}"
    return f"{number:.2f}" if number >= 0.0995 else f"{number:.2g}"


def plain_number(number: float) -> str:
    """Return a number exactly, without trailing zeros: `0.75`, `50`, `1,500`."""
    return f"{number:,.10g}"


def duration(seconds: float) -> str:
    """Return `42 ms`, `0.42 s`, `12.3 s`, `5 min 03 s`, `5 min`, `1 h 05 min`, `2 d 03 h`."""
    if seconds < 0.0995:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 59.95:
        return f"{three_digits(seconds)} s"
    if round(seconds) < 3600:
        return _two_units(round(seconds), 60, "min", "s")
    if round(seconds / 60) < 24 * 60:
        return _two_units(round(seconds / 60), 60, "h", "min")
    return _two_units(round(seconds / 3600), 24, "d", "h")


def countdown(seconds: float) -> str:
    """Return a remaining time without fractions of a second: `42 s`, `5 min 03 s`."""
    whole = max(0, round(seconds))
    return f"{whole} s" if whole < 60 else duration(whole)


def _two_units(whole: int, base: int, large: str, small: str) -> str:
    more, rest = divmod(whole, base)
    return f"{more:,} {large} {rest:02} {small}" if rest else f"{more:,} {large}"


def quantity(number: float, unit: str) -> str:
    """Return a quantity with a decimal prefix: `512 B`, `12.3 MB`, `4.20 GB`."""
    prefixes = iter("kMGTPE")
    prefix = ""
    while number >= 999.5:
        number, prefix = number / 1000, next(prefixes)
    return f"{three_digits(number) if prefix else round(number)} {prefix}{unit}"


def percentage(part: float, whole: float) -> str:
    """Return a percentage such as `82.4%`; only nothing is `0%` and only everything `100%`."""
    if whole <= 0 or part <= 0:
        return "0%"
    if part >= whole:
        return "100%"
    return "<0.1%" if part < 0.001 * whole else f"{min(99.9, 100 * part / whole):.1f}%"


def timestamp(at: float) -> str:
    """Return a Unix time as `2026-11-22 08:15 UTC`."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"


def iso_timestamp(at: float) -> str:
    """Return a Unix time in ISO 8601, for machines."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def escape_controls(text: str) -> str:
    r"""Return untrusted text with control and direction-changing characters as `\uXXXX`."""
    return "".join(
        f"\\u{ord(c):04x}"
        if c in _REORDERING or unicodedata.category(c) in ("Cc", "Zl", "Zp")
        else c
        for c in text
    )


def shorten_middle(text: str, limit: int) -> str:
    """Return the text with its middle cut out, as the ends of a key say more about it."""
    if len(text) <= limit:
        return text
    head = (limit - 1) // 2
    return f"{text[:head]}…{text[len(text) - (limit - 1 - head) :]}"
