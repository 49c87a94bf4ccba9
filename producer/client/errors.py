"""The exceptions of the client that are not about the contract or the settings."""

from producer.contract.errors import CutworkError


class BrokerUnavailable(CutworkError, ConnectionError):
    """The broker did not answer within `CUTWORK_BROKER_TIMEOUT` seconds, or refused a command.

    Raised by `submit` and `submit_many`, its text says how many jobs were enqueued. If the
    connection broke while jobs were being sent, some of the next ones, 100 at most, may be in the
    queue as well, or be sent later by the recovery of lost messages. The client stays usable:
    submit again when the broker is back. Submitting an image twice is harmless: by default workers
    skip outputs that have the same fingerprint.
    """

    code = "broker_unavailable"


class OutcomeTimeout(CutworkError, TimeoutError):
    """A job has no outcome after the given time.

    The job is still queued or running; wait again, or look at `cutwork status`.
    """

    code = "outcome_timeout"


class ClientClosed(CutworkError, RuntimeError):
    """The client was closed, by `close()` or at the end of its `with` block; open another one.

    Callers that were waiting for an outcome when the client was closed get it too.
    """

    code = "client_closed"


class UnknownJob(CutworkError, LookupError):
    """No pending job and no stored outcome has this id.

    Either no client submitted a job with this id, or its outcome has expired: outcomes are stored
    for a day. A job that a Celery canvas sent is not pending, and known from its outcome on.
    """

    code = "unknown_job"
