"""The base of every exception that callers of the producer see."""

from typing import ClassVar


class CutworkError(Exception):
    """The base of all exceptions that `producer` raises.

    The text says what was expected, what was found, and what to do; `code` is a stable name of the
    exception for logs and metrics. Each exception also has the built-in base that fits it, such as
    `ValueError`.
    """

    code: ClassVar[str] = "cutwork_error"


class InvalidJob(CutworkError, ValueError):
    """An option, a reference to an object, an id, or a job as a whole is not valid.

    Raised by the constructors `Options(…)`, `Job(…)` and `ImageRef(…)` and by the methods of
    `Client`. Nothing was enqueued. The text names the wrong field, what was expected and what was
    found; correct the arguments, as trying again gives the same error.
    """

    code = "invalid_job"
