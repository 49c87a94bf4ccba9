"""Untrusted text, made fit for one line of a log or of a terminal."""


def escape_unprintable(text: str) -> str:
    r"""Return the text with every unprintable character as a Python escape such as `\n`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def shorten(text: str, limit: int) -> str:
    """Return the text, cut to `limit` characters with `…` as the last one if it is longer."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
