"""Run records in Redis that this release cannot read: written by a newer one, or broken."""

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from pydantic import ValidationError

from producer.contract.errors import CutworkError
from producer.contract.validation_errors import explain

DecodingError = KeyError | ValueError | redis.ResponseError


class UnreadableRun(CutworkError, ValueError):
    """A run exists, but this release cannot read its record.

    A newer release began the run, or another program wrote to its keys. The text names the run; use
    the release that began it, or begin another run.
    """

    code = "unreadable_run"


@contextmanager
def reading_run(run: str) -> Iterator[None]:
    """Raise `UnreadableRun` if the block, which reads the record of a run, fails to decode it."""
    try:
        yield
    except (KeyError, ValueError, redis.ResponseError) as error:
        raise UnreadableRun(
            f"run {run}: expected a record as this release writes it ({describe(error)}); use the "
            "release that began the run, or begin another"
        ) from error


def describe(error: DecodingError) -> str:
    """Return why a value cannot be decoded; raise other errors of Redis again."""
    if isinstance(error, redis.ResponseError) and not is_of_another_type(error):
        raise error
    if isinstance(error, ValidationError):
        return explain(error)
    return f"found no field {error}" if isinstance(error, KeyError) else str(error)


def is_of_another_type(error: redis.ResponseError) -> bool:
    """Return whether Redis refused a command because the key holds another type of value."""
    return str(error).startswith("WRONGTYPE")
