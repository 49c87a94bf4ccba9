"""S3 get, head and put, within what the deployment allows, with errors mapped to ours."""

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ParamValidationError,
)

from producer.config.settings import SettingsError
from producer.contract.s3_uri import ImageRef
from producer.observability.events import NO_EVENTS, Events
from worker.config.access import AllowedPrefix, require_allowed
from worker.config.settings import WorkerSettings
from worker.errors import (
    AccessDenied,
    BucketNotFound,
    CredentialsRefused,
    SourceNotFound,
    SourceTooLarge,
    StorageRefused,
    StorageUnavailable,
)

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import GetObjectOutputTypeDef

FINGERPRINT: Final = "cutwork-fingerprint"
"""Name of the metadata that every output carries."""
_STALE: Final = 10.0
"""Seconds for which an opened body is taken to be there without being read."""

OUTPUT: Final = "cutwork-output"
"""Name of the metadata that says which of a job's outputs an object is: image or mask."""

_PASSING: Final = {
    *(
        "PreconditionFailed",
        "SlowDown",
        "RequestTimeout",
        "InternalError",
        "ServiceUnavailable",
        "Throttling",
    ),
    *("ThrottlingException", "RequestLimitExceeded"),
}
_CREDENTIALS: Final = {
    *("ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidAccessKeyId"),
    "SignatureDoesNotMatch",
}
"""Keys are rotated while jobs run: the next attempt may have the new ones."""
_ACCESS: Final = {"AccessDenied", "403", "401"}


class Stored(NamedTuple):
    """What S3 says of an object."""

    etag: str
    length: int
    fingerprint: str | None
    output: str | None
    content_type: str
    modified: datetime


@dataclass(frozen=True)
class Source:
    """An object opened for reading: its ETag is known before its body is read."""

    ref: ImageRef
    etag: str
    length: int
    modified: datetime
    _storage: "S3Storage"
    _response: "GetObjectOutputTypeDef"
    opened: float = field(default_factory=time.monotonic)
    """On the monotonic clock."""

    @property
    def stale(self) -> bool:
        """Whether it was opened so long ago that the object store may have closed the body."""
        return time.monotonic() - self.opened > _STALE

    def close(self) -> None:
        """Give the connection back; a body left unread is dropped."""
        self._response["Body"].close()

    def read(self) -> bytes:
        """Return the whole body; raise `StorageUnavailable` if it breaks off.

        A source that has waited for a model or for memory is opened again, because the object store
        may have closed the connection; then it must still have the same ETag.
        """
        if self.stale:
            self.close()
            with self._storage.open(self.ref, etag=self.etag) as reopened:
                return reopened.read()
        with _mapped(self.ref):
            data = self._response["Body"].read()
        self._storage.events.image_bytes("read", len(data))
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class S3Storage:
    """The object store as one worker may use it; safe to share between threads."""

    def __init__(
        self,
        client: "S3Client",
        *,
        read_from: Sequence[AllowedPrefix],
        write_to: Sequence[AllowedPrefix],
        models_from: Sequence[AllowedPrefix],
        max_bytes: int,
        events: Events = NO_EVENTS,
    ) -> None:
        self.events = events
        self._client = client
        self._read_from = read_from
        self._write_to = write_to
        self._models_from = models_from
        self._max_bytes = max_bytes

    def check(self, *, source: ImageRef, outputs: Sequence[ImageRef]) -> None:
        """Raise `Forbidden` unless the deployment allows all of a job's places."""
        require_allowed(source, self._read_from, action="read", variable="CUTWORK_READ_FROM")
        for ref in outputs:
            require_allowed(ref, self._write_to, action="write", variable="CUTWORK_WRITE_TO")

    def open(self, ref: ImageRef, *, etag: str | None = None) -> Source:
        """Open an object for reading; `SourceTooLarge` before any of its body is read.

        `etag`: of the object as it must still be; `StorageUnavailable` where it was replaced.
        """
        with _mapped(ref):
            response = (
                self._client.get_object(Bucket=ref.bucket, Key=ref.key)
                if etag is None
                else self._client.get_object(Bucket=ref.bucket, Key=ref.key, IfMatch=etag)
            )
        length = response["ContentLength"]
        if length > self._max_bytes:
            response["Body"].close()
            raise SourceTooLarge(
                f"{ref}: expected at most {self._max_bytes:,} bytes (CUTWORK_MAX_BYTES), "
                f"found {length:,}"
            )
        etag = response["ETag"].strip('"')
        return Source(ref, etag, length, response["LastModified"], self, response)

    def head(self, ref: ImageRef) -> Stored | None:
        """What is stored at a key, None when nothing is."""
        try:
            with _mapped(ref):
                found = self._client.head_object(Bucket=ref.bucket, Key=ref.key)
        except (SourceNotFound, BucketNotFound):
            return None
        metadata = found["Metadata"]
        return Stored(
            found["ETag"].strip('"'),
            found["ContentLength"],
            metadata.get(FINGERPRINT),
            metadata.get(OUTPUT),
            found["ContentType"],
            found["LastModified"],
        )

    def put(
        self, ref: ImageRef, data: bytes, *, content_type: str, fingerprint: str, output: str
    ) -> str:
        """Store an output in one request, all or nothing; returns its ETag."""
        with _mapped(ref):
            response = self._client.put_object(
                Bucket=ref.bucket,
                Key=ref.key,
                Body=data,
                ContentType=content_type,
                Metadata={FINGERPRINT: fingerprint, OUTPUT: output},
            )
        self.events.image_bytes("written", len(data))
        return response["ETag"].strip('"')

    def renew(self, ref: ImageRef, stored: Stored) -> None:
        """Give an output today's date, by a copy onto itself."""
        with _mapped(ref):
            self._client.copy_object(
                Bucket=ref.bucket,
                Key=ref.key,
                CopySource={"Bucket": ref.bucket, "Key": ref.key},
                CopySourceIfMatch=stored.etag,
                ContentType=stored.content_type,
                Metadata={FINGERPRINT: stored.fingerprint or "", OUTPUT: stored.output or ""},
                MetadataDirective="REPLACE",
            )

    def remove(self, ref: ImageRef) -> None:
        """Delete an output that is not to stay."""
        with _mapped(ref):
            self._client.delete_object(Bucket=ref.bucket, Key=ref.key)

    def model_etag(self, ref: ImageRef) -> str | None:
        """The ETag of a model under an allowed prefix, None when there is no such object."""
        require_allowed(
            ref, self._models_from, action="load models from", variable="CUTWORK_MODELS_FROM"
        )
        stored = self.head(ref)
        return stored.etag if stored else None

    def read_profile(self, ref: ImageRef, longest: int) -> bytes | None:
        """The first bytes of the object beside a model, None when there is none."""
        require_allowed(
            ref, self._models_from, action="load models from", variable="CUTWORK_MODELS_FROM"
        )
        try:
            with _mapped(ref):
                response = self._client.get_object(Bucket=ref.bucket, Key=ref.key)
                with closing(response["Body"]) as body:
                    return body.read(longest)
        except SourceNotFound:
            return None

    def download_model(self, ref: ImageRef, etag: str, path: Path) -> None:
        """Write a model to `path`, if it is still the one that had this ETag."""
        with _mapped(ref), path.open("wb") as file:
            response = self._client.get_object(Bucket=ref.bucket, Key=ref.key, IfMatch=etag)
            with closing(response["Body"]) as body:
                shutil.copyfileobj(body, file, 2**20)


def open_storage(
    settings: WorkerSettings, *, connections: int, events: Events = NO_EVENTS
) -> S3Storage:
    """The storage of a worker's settings; credentials and endpoint are the AWS SDK's own."""
    config = Config(
        connect_timeout=settings.s3_connect_timeout,
        read_timeout=settings.s3_read_timeout,
        retries={"mode": "standard", "total_max_attempts": settings.s3_attempts},
        max_pool_connections=connections,
    )
    try:
        client = boto3.client("s3", config=config)
    except (BotoCoreError, ValueError) as error:
        raise SettingsError(
            f"S3: {error}; expected AWS_ENDPOINT_URL, AWS_PROFILE and AWS_REGION as the AWS SDK "
            "takes them"
        ) from error
    host = urlsplit(client.meta.endpoint_url).hostname or ""
    if not host.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        # Between its own regions AWS may lead; anybody else's redirect would have the SDK ask for
        # a region, and ask again if that is answered with a redirect, without an end.
        client.meta.events.register_last("before-parameter-build.s3", _follow_nothing)
    return S3Storage(
        client,
        read_from=[AllowedPrefix.parse(item) for item in settings.read_from],
        write_to=[AllowedPrefix.parse(item) for item in settings.write_to],
        models_from=[AllowedPrefix.parse(item) for item in settings.models_from],
        max_bytes=settings.max_bytes,
        events=events,
    )


@contextmanager
def _mapped(ref: ImageRef) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
        if code == "NoSuchBucket":
            raise BucketNotFound(f"{ref}: expected a bucket {ref.bucket!r}, found none") from error
        if code in ("NoSuchKey", "404", "NotFound"):
            raise SourceNotFound(f"{ref}: expected an object, found none") from error
        if code in _ACCESS:
            raise AccessDenied(
                f"{ref}: the object store refuses this worker's credentials ({code}); "
                "give them s3:GetObject and s3:ListBucket on what they read, and s3:PutObject, "
                "s3:GetObject and s3:ListBucket on what they write"
            ) from error
        if code in _CREDENTIALS:
            raise CredentialsRefused(
                f"{ref}: the object store does not know this worker's credentials ({code}): they "
                "are expired, revoked or wrong"
            ) from error
        if status.startswith("3"):
            raise _redirected(ref) from error
        if code == "RequestTimeTooSkewed":
            raise StorageUnavailable(
                f"{ref}: the object store finds this machine's clock wrong ({code}); set it"
            ) from error
        if code in _PASSING or status in ("408", "429") or status.startswith("5"):
            raise StorageUnavailable(
                f"{ref}: the object store answered {code or status}"
            ) from error
        raise StorageRefused(f"{ref}: the object store answered {code or status}") from error
    except ParamValidationError as error:
        raise StorageRefused(f"{ref}: {error}") from error
    except BotoCoreError as error:
        # No connection, no answer, a body cut short, credentials that a role has yet to give.
        raise StorageUnavailable(f"{ref}: the object store did not answer ({error})") from error
    except RuntimeError as error:
        # botocore's word, and its whole class, for a role that still gives expired credentials.
        raise StorageUnavailable(f"{ref}: no credentials to ask with ({error})") from error


def _follow_nothing(context: dict[str, Any], **_: object) -> None:
    """Have the SDK's redirector take a request for one that was redirected already."""
    context["s3_redirect"]["redirected"] = True


def _redirected(ref: ImageRef) -> StorageRefused:
    return StorageRefused(
        f"{ref}: the object store answered with a redirect, and none is followed; expected "
        "AWS_ENDPOINT_URL and AWS_REGION of the bucket itself"
    )
