"""The error codes of workers."""

from deploy.reference.markdown import code, table
from worker import errors


def error_types() -> list[type[errors.CutworkError]]:
    """Return every error class that has a code of its own, in the order of `worker/errors.py`."""
    return [
        item
        for item in vars(errors).values()
        if isinstance(item, type) and issubclass(item, errors.CutworkError) and "code" in vars(item)
    ]


def error_codes() -> str:
    """Return the table of codes."""
    rows = (
        (
            code(item.code),
            (item.__doc__ or "").partition("\n\n")[0],
            "transient" if issubclass(item, errors.TransientError) else "permanent",
            code(item.__name__),
        )
        for item in error_types()
    )
    return table(("code", "meaning", "kind", "class"), rows)
