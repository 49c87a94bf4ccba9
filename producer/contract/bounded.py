"""Numbers with bounds, for values that another program may have written."""

from typing import Annotated, Final

from pydantic import AfterValidator

_LATEST: Final = 1e11
"""Unix time in seconds, in the year 5138; the functions of dates fail from the year 10,000 on."""
_MOST: Final = 2**63 - 1
"""What Redis counts up to."""


def check_time(seconds: float) -> float:
    """Return the time; raise `ValueError` if no function of dates could print it."""
    if not 0 <= seconds <= _LATEST:
        raise ValueError(f"expected a Unix time in seconds from 0 to {_LATEST:.0e}")
    return seconds


def _check_minute(seconds: int) -> int:
    return int(check_time(seconds))


def _check_count(number: int) -> int:
    if not 0 <= number <= _MOST:
        raise ValueError("expected a count from 0 to 2**63 - 1")
    return number


def _check_amount(number: float) -> float:
    if not 0 <= number <= _MOST:
        raise ValueError("expected a number from 0 to 2**63 - 1")
    return number


Time = Annotated[float, AfterValidator(check_time)]
"""Unix time in seconds."""
MinuteStart = Annotated[int, AfterValidator(_check_minute)]
"""Unix time in whole seconds."""
Count = Annotated[int, AfterValidator(_check_count)]
Amount = Annotated[float, AfterValidator(_check_amount)]
