"""What Redis keeps of a run and this release cannot read: of a newer one, or broken."""

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from pydantic import ValidationError

from producer.contract.validation_errors import explain


class UnreadableRun(ValueError):
    """A run that is there and cannot be read here; the text names it and says what to do."""


@contextmanager
def reading_run(run: str) -> Iterator[None]:
    """A block that reads what is kept of a run; what is none raises `UnreadableRun`."""
    try:
        yield
    except ValidationError as error:
        raise _unreadable(run, explain(error)) from error
    except KeyError as error:
        raise _unreadable(run, f"found no field {error}") from error
    except ValueError as error:
        raise _unreadable(run, str(error)) from error
    except redis.ResponseError as error:
        if not is_of_another_type(error):
            raise
        raise _unreadable(run, str(error)) from error


def is_of_another_type(error: redis.ResponseError) -> bool:
    """Whether Redis refused a command because the key holds another kind of value."""
    return str(error).startswith("WRONGTYPE")


def _unreadable(run: str, reason: str) -> UnreadableRun:
    return UnreadableRun(
        f"run {run}: expected a record as this release writes it ({reason}); use the release that "
        "began the run, or begin another"
    )
