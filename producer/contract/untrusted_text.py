"""Untrusted text, made fit for one line of a log or of a terminal."""

from collections.abc import Callable
from typing import Final

_MARK_BYTES: Final = 64
"""Bytes that are reserved for the note of how much was left out."""
_HIDDEN_CHARACTERS: Final = 4096
"""Longer than any credential: what is dropped on both sides of a gap in a text with credentials."""


def escape_unprintable(text: str) -> str:
    r"""Return the text with every unprintable character as a Python escape such as `\n`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def shorten(text: str, limit: int) -> str:
    """Return the text, cut to `limit` characters with `…` as the last one if it is longer."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def bound(
    text: str,
    limit: int,
    *,
    hide: Callable[[str], str] | None = None,
    escape: Callable[[str], str] = escape_unprintable,
) -> str:
    """Return the text, escaped, in at most `limit` bytes of UTF-8; `limit` is at least 256.

    Of a longer text three quarters of that are its beginning and one quarter its end, because an
    error begins with what was found and ends with what to do; between them stands how much was
    left out.

    `hide` removes credentials. Of a very long text it and `escape` are called with both ends alone;
    characters at the gap are dropped, as `hide` does not recognise a part of a credential.
    """
    margin = 0 if hide is None else _HIDDEN_CHARACTERS
    window = limit + margin
    if len(text) <= 2 * window:
        whole = escape(text if hide is None else hide(text))
        if len(whole) <= limit and len(whole.encode()) <= limit:
            return whole
        head = tail = whole
        total = len(whole)
    else:
        head, tail, total = text[:window], text[-window:], len(text)
        if hide is not None:
            head, tail = hide(head)[:-margin], hide(tail)[margin:]
        head, tail = escape(head), escape(tail)
    room = limit - _MARK_BYTES
    first = head[:room].encode()[: room * 3 // 4].decode(errors="ignore")
    last = tail[-room:].encode()[-(room // 4) :].decode(errors="ignore")
    left_out = total - len(first) - len(last)
    return f"{first}… ({left_out:,} characters left out) …{last}"
