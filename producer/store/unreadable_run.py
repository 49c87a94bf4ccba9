"""Run records in Redis that this release cannot read: written by a newer one, or broken."""

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from pydantic import ValidationError

from producer.contract.validation_errors import explain


class UnreadableRun(ValueError):
    """A run exists, but this release cannot read its record.

    A newer release began the run, or another program wrote to its keys. The text names the run; use
    the release that began it, or begin another run.
    """


@contextmanager
def reading_run(run: str) -> Iterator[None]:
    """Raise `UnreadableRun` if the block, which reads the record of a run, fails to decode it."""
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
    """Return whether Redis refused a command because the key holds another type of value."""
    return str(error).startswith("WRONGTYPE")


def _unreadable(run: str, reason: str) -> UnreadableRun:
    return UnreadableRun(
        f"run {run}: expected a record as this release writes it ({reason}); use the release that "
        "began the run, or begin another"
    )
