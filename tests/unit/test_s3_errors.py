"""Every error of S3 and its SDK is classified once, for producer and worker."""

import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
)

from producer.config.s3_errors import S3Condition, classify
from producer.contract.s3_uri import ImageRef
from worker.errors import (
    AccessDenied,
    BucketNotFound,
    CredentialsRefused,
    CutworkError,
    SourceArchived,
    SourceNotFound,
    StorageRefused,
    StorageUnavailable,
)
from worker.pipeline.storage_errors import translate_errors


def answer(code: str, status: int) -> ClientError:
    response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "GetObject")  # type: ignore[arg-type]  # only what is read


CASES: list[tuple[ClientError | BotoCoreError | RuntimeError, S3Condition, type[CutworkError]]] = [
    (answer("NoSuchBucket", 404), S3Condition.MISSING_BUCKET, BucketNotFound),
    (answer("NoSuchKey", 404), S3Condition.MISSING_OBJECT, SourceNotFound),
    (answer("404", 404), S3Condition.MISSING_OBJECT, SourceNotFound),
    (answer("NotFound", 404), S3Condition.MISSING_OBJECT, SourceNotFound),
    (answer("AccessDenied", 403), S3Condition.FORBIDDEN, AccessDenied),
    (answer("403", 403), S3Condition.FORBIDDEN, AccessDenied),
    (answer("401", 401), S3Condition.FORBIDDEN, AccessDenied),
    (answer("ExpiredToken", 400), S3Condition.BAD_CREDENTIALS, CredentialsRefused),
    (answer("InvalidToken", 400), S3Condition.BAD_CREDENTIALS, CredentialsRefused),
    (answer("TokenRefreshRequired", 400), S3Condition.BAD_CREDENTIALS, CredentialsRefused),
    (answer("InvalidAccessKeyId", 403), S3Condition.BAD_CREDENTIALS, CredentialsRefused),
    (answer("SignatureDoesNotMatch", 403), S3Condition.BAD_CREDENTIALS, CredentialsRefused),
    (answer("PermanentRedirect", 301), S3Condition.REDIRECT, StorageRefused),
    (answer("307", 307), S3Condition.REDIRECT, StorageRefused),
    (answer("RequestTimeTooSkewed", 403), S3Condition.CLOCK_SKEW, StorageUnavailable),
    (answer("PreconditionFailed", 412), S3Condition.TRANSIENT, StorageUnavailable),
    (answer("SlowDown", 503), S3Condition.TRANSIENT, StorageUnavailable),
    (answer("RequestTimeout", 400), S3Condition.TRANSIENT, StorageUnavailable),
    (answer("Throttling", 400), S3Condition.TRANSIENT, StorageUnavailable),
    (answer("ThrottlingException", 400), S3Condition.TRANSIENT, StorageUnavailable),
    (answer("RequestLimitExceeded", 400), S3Condition.TRANSIENT, StorageUnavailable),
    (answer("408", 408), S3Condition.TRANSIENT, StorageUnavailable),
    (answer("429", 429), S3Condition.TRANSIENT, StorageUnavailable),
    (answer("NotImplemented", 501), S3Condition.NOT_IMPLEMENTED, StorageRefused),
    (answer("501", 501), S3Condition.NOT_IMPLEMENTED, StorageRefused),
    (answer("", 501), S3Condition.NOT_IMPLEMENTED, StorageRefused),
    (answer("InvalidObjectState", 403), S3Condition.ARCHIVED, SourceArchived),
    (answer("", 500), S3Condition.TRANSIENT, StorageUnavailable),
    (answer("EntityTooLarge", 400), S3Condition.REFUSED, StorageRefused),
    (answer("", 400), S3Condition.REFUSED, StorageRefused),
    (ClientError({}, "GetObject"), S3Condition.REFUSED, StorageRefused),
    (ParamValidationError(report="x"), S3Condition.INVALID_REQUEST, StorageRefused),
    (NoCredentialsError(), S3Condition.NO_CREDENTIALS, StorageUnavailable),
    (RuntimeError("still expired"), S3Condition.NO_CREDENTIALS, StorageUnavailable),
    (EndpointConnectionError(endpoint_url="x"), S3Condition.NO_ANSWER, StorageUnavailable),
    (ReadTimeoutError(endpoint_url="x"), S3Condition.NO_ANSWER, StorageUnavailable),
]


@pytest.mark.parametrize(("error", "condition", "kind"), CASES)
def test_an_error_has_one_condition_and_one_error_of_the_worker(
    error: ClientError | BotoCoreError | RuntimeError,
    condition: S3Condition,
    kind: type[CutworkError],
) -> None:
    assert classify(error).condition is condition
    ref = ImageRef(bucket="photos", key="a.jpg")
    with pytest.raises(kind, match=r"^s3://photos/a\.jpg: ") as caught, translate_errors(ref):
        raise error
    assert type(caught.value) is kind
    assert caught.value.__cause__ is error


def test_the_answer_is_the_code_or_else_the_status() -> None:
    assert classify(answer("SlowDown", 503)).answer == "SlowDown"
    assert classify(answer("", 500)).answer == "500"


def test_every_condition_is_reached() -> None:
    assert {condition for _, condition, _ in CASES} == set(S3Condition)
