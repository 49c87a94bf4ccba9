"""What pydantic finds wrong, in sentences for the one who wrote it."""

import re
from collections.abc import Callable

from pydantic import ValidationError


def explain(error: ValidationError, *, name: Callable[[str], str] = str) -> str:
    """Turn pydantic's report into sentences: field, what was expected, what was found.

    `name` turns a field's name into the one its user knows, such as that of a variable.
    """
    expected: dict[str, list[str]] = {}
    found: dict[str, str] = {}
    for item in error.errors(include_url=False):
        # A union reports once per member, and only the names of fields are for the reader.
        parts = [str(part) for part in item["loc"] if not _is_union_member(part)]
        field = name(".".join(parts)) if parts else ""
        text = item["msg"].removeprefix("Value error, ")
        expected.setdefault(field, []).append(text[:1].lower() + text[1:])
        if item["type"] != "missing" and (field or item["type"] == "model_type"):
            found.setdefault(field, f", found {_shorten(item['input'])}")
    return ". ".join(
        (f"{field}: " if field else "") + "; or ".join(dict.fromkeys(texts)) + found.get(field, "")
        for field, texts in expected.items()
    )


def _is_union_member(part: int | str) -> bool:
    if part in ("float", "int"):
        return True
    return isinstance(part, str) and re.fullmatch(r"[a-z_0-9]+", part) is None


def _shorten(value: object, limit: int = 120) -> str:
    text = hide_password(repr(value))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def hide_password(text: str) -> str:
    """A text as it may be shown: in a URL, what may be a password is left out."""
    text = re.sub(r"//\S*@", "//***@", text)
    return re.sub(r"(password=)[^&\s'\"]+", r"\1***", text)
