"""Errors of S3 requests as the worker's own errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

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

_ERRORS: Final[dict[S3Condition, tuple[type[CutworkError], str]]] = {
    S3Condition.MISSING_BUCKET: (BucketNotFound, "expected a bucket {bucket!r}, found none"),
    S3Condition.MISSING_OBJECT: (SourceNotFound, "expected an object, found none"),
    S3Condition.FORBIDDEN: (
        AccessDenied,
        "the object store refuses this worker's credentials ({answer}); give them s3:GetObject and "
        "s3:ListBucket on what they read, and s3:PutObject, s3:GetObject and s3:ListBucket on what "
        "they write",
    ),
    # Keys are rotated while jobs run: the next attempt may have the new ones.
    S3Condition.BAD_CREDENTIALS: (
        CredentialsRefused,
        "the object store does not know this worker's credentials ({answer}): they are expired, "
        "revoked or wrong",
    ),
    S3Condition.NO_CREDENTIALS: (StorageUnavailable, "found no credentials for S3 ({answer})"),
    S3Condition.REDIRECT: (
        StorageRefused,
        "the object store answered with a redirect, which is not followed; expected "
        "AWS_ENDPOINT_URL and AWS_REGION of the bucket itself",
    ),
    S3Condition.CLOCK_SKEW: (
        StorageUnavailable,
        "the object store finds this machine's clock wrong ({answer}); set it",
    ),
    S3Condition.TRANSIENT: (StorageUnavailable, "the object store answered {answer}"),
    S3Condition.NO_ANSWER: (StorageUnavailable, "the object store did not answer ({answer})"),
    S3Condition.ARCHIVED: (
        SourceArchived,
        "expected a readable object, found one in an archive class ({answer}); restore it, then "
        "send the job again",
    ),
    S3Condition.NOT_IMPLEMENTED: (
        StorageRefused,
        "the object store does not support this request ({answer}); unset those of "
        "CUTWORK_STORAGE_CLASS, CUTWORK_ACL, CUTWORK_KMS_KEY and CUTWORK_REQUESTER_PAYS that it "
        "does not know, and check it with `cutwork doctor --write`",
    ),
    S3Condition.INVALID_REQUEST: (StorageRefused, "{answer}"),
    S3Condition.REFUSED: (StorageRefused, "the object store answered {answer}"),
}
"""The worker's error for each condition, and its sentence."""


@contextmanager
def translate_errors(ref: ImageRef) -> Iterator[None]:
    """Raise errors of requests about `ref` as the worker's own."""
    try:
        yield
    except (ClientError, BotoCoreError, RuntimeError) as error:
        failure = classify(error)
        kind, sentence = _ERRORS[failure.condition]
        text = sentence.format(bucket=ref.bucket, answer=failure.answer)
        raise kind(f"{ref}: {text}") from error
