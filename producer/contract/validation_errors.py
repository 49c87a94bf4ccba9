"""Pydantic's validation errors as sentences for the author of the refused value."""

import re
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

from pydantic import ValidationError

from producer.contract.untrusted_text import shorten

_LONGEST_NAME: Final = 120
"""Characters of a field's name, which the author of a message may have chosen."""
_MAX_FIELDS: Final = 20
_LONGEST_VALUE: Final = 120
"""Characters of a refused value that a sentence shows."""


def explain(error: ValidationError, *, name: Callable[[str], str] = str) -> str:
    """Return sentences that name each field, what was expected, and what was found.

    `name` turns a field's name into the one its user knows, such as that of a variable. Passwords
    in URLs are hidden.
    """
    expected: dict[str, list[str]] = {}
    found: dict[str, str] = {}
    for item in error.errors(include_url=False):
        # A union reports one error per member; the names of members mean nothing to the reader.
        parts = [str(part) for part in item["loc"] if not _is_union_member(part)]
        field = name(shorten(".".join(parts), _LONGEST_NAME)) if parts else ""
        text = item["msg"].removeprefix("Value error, ")
        expected.setdefault(field, []).append(text[:1].lower() + text[1:])
        if item["type"] != "missing" and (field or item["type"] == "model_type"):
            value = shorten(hide_password(repr(item["input"])), _LONGEST_VALUE)
            found.setdefault(field, value)
    sentences = [
        (f"{field}: " if field else "") + _with_found(list(dict.fromkeys(texts)), found.get(field))
        for field, texts in islice(expected.items(), _MAX_FIELDS)
    ]
    if left := len(expected) - len(sentences):
        sentences.append(f"and {left:,} more fields")
    return ". ".join(sentences)


def _with_found(texts: Sequence[str], found: str | None) -> str:
    """Return what was expected, what was found, and what to do; each of them once."""
    text = "; or ".join(texts)
    if found is None or any(re.search(r"\bfound\b", part) for part in texts):
        return text
    if len(texts) > 1:
        return f"{text}, found {found}"
    expected, separator, advice = text.partition("; ")
    return f"{expected}, found {found}{separator}{advice}"


def _is_union_member(part: int | str) -> bool:
    is_name = isinstance(part, int) or re.fullmatch(r"[a-z_0-9]+", part) is not None
    return part in ("float", "int") or not is_name


def hide_password(text: str) -> str:
    """Return the text with whatever may be a password in a URL replaced by `***`."""
    # By words, because one pattern for it would take quadratic time for a long row of slashes.
    text = re.sub(r"\S+", lambda word: _hide_user(word[0]), text)
    return re.sub(r"(password=)[^&\s'\"]+", r"\1***", text)


def _hide_user(word: str) -> str:
    start, separator, rest = word.partition("//")
    _, at, host = rest.rpartition("@")
    return f"{start}{separator}***@{host}" if at else word
