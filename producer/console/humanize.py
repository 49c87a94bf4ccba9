"""Numbers, times and a stranger's text as people read them."""

import unicodedata
from datetime import UTC, datetime
from typing import Final

_REORDERING: Final = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
"""Signs that are not seen but turn the text around them."""


def count(number: int) -> str:
    """`1,234`."""
    return f"{number:,}"


def three_digits(number: float) -> str:
    """A measured number, to three digits: `0.042`, `4.20`, `123`, `1,234`."""
    if number == 0 or number >= 99.95:
        return f"{number:,.0f}"
    if number >= 9.995:
        return f"{number:.1f}"
    return f"{number:.2f}" if number >= 0.0995 else f"{number:.2g}"


def plain_number(number: float) -> str:
    """A round number as it is: `0.75`, `50`, `1,500`."""
    return f"{number:,.10g}"


def duration(seconds: float) -> str:
    """`42 ms`, `0.42 s`, `12.3 s`, `5 min 03 s`, `5 min`, `1 h 05 min`, `2 d 03 h`."""
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
    """A time that is still to come, in whole seconds: `42 s`, `5 min 03 s`."""
    whole = max(0, round(seconds))
    return f"{whole} s" if whole < 60 else duration(whole)


def _two_units(whole: int, base: int, large: str, small: str) -> str:
    more, rest = divmod(whole, base)
    return f"{more:,} {large} {rest:02} {small}" if rest else f"{more:,} {large}"


def quantity(number: float, unit: str) -> str:
    """A large quantity with the prefix that fits: `512 B`, `12.3 MB`, `4.20 GB`."""
    prefixes = iter("kMGTPE")
    prefix = ""
    while number >= 999.5:
        number, prefix = number / 1000, next(prefixes)
    return f"{three_digits(number) if prefix else round(number)} {prefix}{unit}"


def percentage(part: float, whole: float) -> str:
    """`82.4%`; what is not nothing is not called 0%, nor what is not all 100%."""
    if whole <= 0 or part <= 0:
        return "0%"
    if part >= whole:
        return "100%"
    return "<0.1%" if part < 0.001 * whole else f"{min(99.9, 100 * part / whole):.1f}%"


def timestamp(at: float) -> str:
    """Unix time as `2026-11-22 08:15 UTC`."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"


def iso_timestamp(at: float) -> str:
    """Unix time in ISO 8601, for a machine."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def escape_controls(text: str) -> str:
    """A stranger's text in which control characters, and what reorders text, are written out."""
    return "".join(
        f"\\u{ord(sign):04x}"
        if sign in _REORDERING or unicodedata.category(sign) in ("Cc", "Zl", "Zp")
        else sign
        for sign in text
    )


def shorten_middle(text: str, longest: int) -> str:
    """A text cut in its middle, as both ends of a key tell more."""
    if len(text) <= longest:
        return text
    head = (longest - 1) // 2
    return f"{text[:head]}…{text[len(text) - (longest - 1 - head) :]}"
