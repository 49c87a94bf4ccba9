"""The object store: S3 requests within the allow lists, with the worker's own errors."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from producer.config.settings import SettingsError
from producer.contract.s3_uri import ImageRef
from producer.observability.events import NO_EVENTS, Events
from worker.config.access import AllowedPrefix, require_allowed
from worker.config.settings import WorkerSettings
from worker.errors import BucketNotFound, SourceNotFound, SourceTooLarge
from worker.models.files.store import ModelObject
from worker.models.watchdog import restart_clock
from worker.pipeline.storage_errors import translate_errors

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import GetObjectOutputTypeDef

FINGERPRINT: Final = "cutwork-fingerprint"
"""The name of the metadata with an output's fingerprint."""
OUTPUT: Final = "cutwork-output"
"""The name of the metadata with the kind of output: `image` or `mask`."""
_BACKOFF_SECONDS: Final = 20.0
"""The longest pause of the SDK between two attempts."""
_STALE_SECONDS: Final = 10.0
"""After this time the object store may have closed a connection that was not read from."""


class Stored(NamedTuple):
    """What S3 returns about an object; fingerprint and output are None for objects of others."""

    etag: str
    length: int
    fingerprint: str | None
    output: str | None
    content_type: str
    modified: datetime


@dataclass(frozen=True)
class Source:
    """An object opened for reading, with its ETag known before its body is read."""

    ref: ImageRef
    etag: str
    length: int
    modified: datetime
    _storage: "S3Storage"
    _response: "GetObjectOutputTypeDef"
    opened_at: float = field(default_factory=time.monotonic)
    """Seconds of the monotonic clock."""

    def close(self) -> None:
        """Release the connection, and drop an unread body."""
        self._response["Body"].close()

    def read(self) -> bytes:
        """Return the whole body; raise `StorageUnavailable` if it breaks off.

        A source that has waited for a model or for memory is opened again, because the object store
        may have closed the connection; then it must still have the same ETag.
        """
        if time.monotonic() - self.opened_at > _STALE_SECONDS:
            self.close()
            with self._storage.open(self.ref, etag=self.etag) as reopened:
                return reopened.read()
        with self._storage.request(self.ref):
            data = self._response["Body"].read()
        self._storage.events.image_bytes("read", len(data))
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, eq=False)
class S3Storage:
    """The object store, within the allow lists of a worker. Thread-safe."""

    client: "S3Client"
    _: KW_ONLY
    read_from: Sequence[AllowedPrefix]
    write_to: Sequence[AllowedPrefix]
    models_from: Sequence[AllowedPrefix]
    max_bytes: int
    patience: float = 0.0
    """Seconds that the client's own timeouts and attempts allow for a request."""
    events: Events = NO_EVENTS

    @contextmanager
    def request(self, ref: ImageRef) -> Iterator[None]:
        """Make a request about `ref` in the block: time it by itself, and translate its errors."""
        restart_clock(extra=self.patience)
        with translate_errors(ref):
            yield

    def check(self, *, source: ImageRef, outputs: Sequence[ImageRef]) -> None:
        """Raise `Forbidden` unless the allow lists cover a job's source and outputs."""
        require_allowed(source, self.read_from, action="read", variable="CUTWORK_READ_FROM")
        for ref in outputs:
            require_allowed(ref, self.write_to, action="write", variable="CUTWORK_WRITE_TO")

    def open(self, ref: ImageRef, *, etag: str | None = None) -> Source:
        """Open an object for reading.

        Raises `SourceTooLarge` before any of its body is read, and `StorageUnavailable` if `etag`
        is given and the object no longer has it.
        """
        condition: Any = {} if etag is None else {"IfMatch": etag}
        with self.request(ref):
            response = self.client.get_object(Bucket=ref.bucket, Key=ref.key, **condition)
        length = response["ContentLength"]
        if length > self.max_bytes:
            response["Body"].close()
            raise SourceTooLarge(
                f"{ref}: expected at most {self.max_bytes:,} bytes (CUTWORK_MAX_BYTES), "
                f"found {length:,}"
            )
        etag = response["ETag"].strip('"')
        return Source(ref, etag, length, response["LastModified"], self, response)

    def head(self, ref: ImageRef) -> Stored | None:
        """Return what is stored at a key; None if there is no object or no bucket."""
        try:
            with self.request(ref):
                response = self.client.head_object(Bucket=ref.bucket, Key=ref.key)
        except (SourceNotFound, BucketNotFound):
            return None
        metadata = response["Metadata"]
        return Stored(
            response["ETag"].strip('"'),
            response["ContentLength"],
            metadata.get(FINGERPRINT),
            metadata.get(OUTPUT),
            response["ContentType"],
            response["LastModified"],
        )

    def put(
        self, ref: ImageRef, data: bytes, *, content_type: str, fingerprint: str, output: str
    ) -> str:
        """Store an output atomically, in one request, and return its ETag."""
        with self.request(ref):
            response = self.client.put_object(
                Bucket=ref.bucket,
                Key=ref.key,
                Body=data,
                ContentType=content_type,
                Metadata={FINGERPRINT: fingerprint, OUTPUT: output},
            )
        self.events.image_bytes("written", len(data))
        return response["ETag"].strip('"')

    def renew(self, ref: ImageRef, stored: Stored) -> None:
        """Set an output's modification time to now, by copying it onto itself."""
        with self.request(ref):
            self.client.copy_object(
                Bucket=ref.bucket,
                Key=ref.key,
                CopySource={"Bucket": ref.bucket, "Key": ref.key},
                CopySourceIfMatch=stored.etag,
                ContentType=stored.content_type,
                Metadata={FINGERPRINT: stored.fingerprint or "", OUTPUT: stored.output or ""},
                MetadataDirective="REPLACE",
            )

    def remove(self, ref: ImageRef) -> None:
        """Delete an output."""
        with self.request(ref):
            self.client.delete_object(Bucket=ref.bucket, Key=ref.key)

    def find_model(self, ref: ImageRef) -> ModelObject | None:
        """Return ETag and length of a model; None if there is no such object.

        Raises `Forbidden` outside the allow list for models.
        """
        require_allowed(
            ref, self.models_from, action="load models from", variable="CUTWORK_MODELS_FROM"
        )
        stored = self.head(ref)
        return ModelObject(stored.etag, stored.length) if stored else None

    def read_profile(self, ref: ImageRef, max_bytes: int) -> bytes | None:
        """Return the first bytes of a model's profile; None if there is no such object.

        Raises `Forbidden` outside the allow list for models.
        """
        require_allowed(
            ref, self.models_from, action="load models from", variable="CUTWORK_MODELS_FROM"
        )
        try:
            with self.request(ref):
                response = self.client.get_object(Bucket=ref.bucket, Key=ref.key)
                with closing(response["Body"]) as body:
                    return body.read(max_bytes)
        except SourceNotFound:
            return None

    def download_model(self, ref: ImageRef, etag: str, path: Path) -> None:
        """Write a model to `path`; raise `StorageUnavailable` unless it still has this ETag."""
        with self.request(ref), path.open("wb") as file:
            response = self.client.get_object(Bucket=ref.bucket, Key=ref.key, IfMatch=etag)
            with closing(response["Body"]) as body:
                for chunk in body.iter_chunks(2**20):
                    file.write(chunk)
                    restart_clock()


def open_storage(
    settings: WorkerSettings, *, connections: int, events: Events = NO_EVENTS
) -> S3Storage:
    """Return the storage of a worker; the AWS SDK reads credentials and endpoint as usual."""
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
            "reads them"
        ) from error
    host = urlsplit(client.meta.endpoint_url).hostname or ""
    if not host.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        # AWS may redirect between its regions. At a redirect of another store the SDK would request
        # the bucket's region, and do so endlessly if that request is redirected too.
        client.meta.events.register_last("before-parameter-build.s3", _disable_redirects)
    return S3Storage(
        client,
        read_from=[AllowedPrefix.parse(item) for item in settings.read_from],
        write_to=[AllowedPrefix.parse(item) for item in settings.write_to],
        models_from=[AllowedPrefix.parse(item) for item in settings.models_from],
        max_bytes=settings.max_bytes,
        patience=settings.s3_attempts
        * (settings.s3_connect_timeout + settings.s3_read_timeout + _BACKOFF_SECONDS),
        events=events,
    )


def _disable_redirects(context: dict[str, Any], **_: object) -> None:
    """Mark a request as redirected already, so that the SDK does not follow another redirect."""
    context["s3_redirect"]["redirected"] = True
