"""What an error of botocore means: one classification for the producer and the worker."""

from enum import Enum, auto
from typing import Final, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ParamValidationError


class S3Condition(Enum):
    """The conditions that an S3 request fails with."""

    MISSING_BUCKET = auto()
    MISSING_OBJECT = auto()
    FORBIDDEN = auto()
    """The credentials are known and may not do this."""
    BAD_CREDENTIALS = auto()
    """The credentials are expired, revoked or wrong."""
    NO_CREDENTIALS = auto()
    REDIRECT = auto()
    """The bucket is in another region or at another endpoint."""
    CLOCK_SKEW = auto()
    """The clock of this machine differs from the server's by more than 15 minutes."""
    TRANSIENT = auto()
    """Throttled, timed out, an error of the server, or the object was replaced meanwhile; a later
    attempt may succeed."""
    NO_ANSWER = auto()
    """No connection, no response in time, or one that breaks off."""
    INVALID_REQUEST = auto()
    """The SDK refused to send the request."""
    ARCHIVED = auto()
    """The object is in an archive class, such as Glacier, and has not been restored."""
    NOT_IMPLEMENTED = auto()
    """The store does not have this function at all."""
    REFUSED = auto()
    """Any other answer."""


class S3Failure(NamedTuple):
    """A failed S3 request."""

    condition: S3Condition
    answer: str
    """The server's error code, else the HTTP status, else the text of the SDK's error."""


_BY_CODE: Final = {
    code: condition
    for condition, codes in {
        S3Condition.MISSING_BUCKET: ("NoSuchBucket",),
        # Answers to HEAD have no body, so their code is the status.
        S3Condition.MISSING_OBJECT: ("NoSuchKey", "404", "NotFound"),
        S3Condition.FORBIDDEN: ("AccessDenied", "403", "401"),
        S3Condition.BAD_CREDENTIALS: (
            *("ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidAccessKeyId"),
            "SignatureDoesNotMatch",
        ),
        S3Condition.CLOCK_SKEW: ("RequestTimeTooSkewed",),
        S3Condition.ARCHIVED: ("InvalidObjectState",),
        S3Condition.NOT_IMPLEMENTED: ("NotImplemented", "501"),
        S3Condition.TRANSIENT: (
            *("PreconditionFailed", "SlowDown", "RequestTimeout", "InternalError", "Throttling"),
            *("ServiceUnavailable", "ThrottlingException", "RequestLimitExceeded"),
        ),
    }.items()
    for code in codes
}


def classify(error: ClientError | BotoCoreError | RuntimeError) -> S3Failure:
    """Return what an error of an S3 request means.

    `RuntimeError` is what botocore raises if a role still returns expired credentials.
    """
    if isinstance(error, NoCredentialsError | RuntimeError):
        return S3Failure(S3Condition.NO_CREDENTIALS, str(error))
    if isinstance(error, ParamValidationError):
        return S3Failure(S3Condition.INVALID_REQUEST, str(error))
    if not isinstance(error, ClientError):
        return S3Failure(S3Condition.NO_ANSWER, str(error))
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
    answer = code or status
    if code in _BY_CODE:
        return S3Failure(_BY_CODE[code], answer)
    if status == "501":
        return S3Failure(S3Condition.NOT_IMPLEMENTED, answer)
    if status.startswith("3"):
        return S3Failure(S3Condition.REDIRECT, answer)
    if status in ("408", "429") or status.startswith("5"):
        return S3Failure(S3Condition.TRANSIENT, answer)
    return S3Failure(S3Condition.REFUSED, answer)
