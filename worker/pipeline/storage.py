"""The object store: S3 requests within the allow lists, with the worker's own errors."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from producer.contract.s3_uri import ImageRef
from producer.observability.events import NO_EVENTS, Events
from worker.config.access import AllowedPrefix, require_allowed
from worker.errors import (
    AccessDenied,
    BucketNotFound,
    CutworkError,
    OutputsContested,
    SourceNotFound,
    SourceTooLarge,
    StorageRefused,
    StorageUnavailable,
)
from worker.models.files.store import ModelObject
from worker.models.watchdog import restart_clock
from worker.pipeline.source import Source
from worker.pipeline.storage_errors import translate_errors
from worker.pipeline.stored import Stored, describe_output, has_other_md5, is_other_copy, required

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


@dataclass(frozen=True, eq=False)
class S3Storage:
    """The object store, within the allow lists of a worker. Thread-safe."""

    client: "S3Client"
    """Of the store of outputs and models."""
    _: KW_ONLY
    read_from: Sequence[AllowedPrefix]
    write_to: Sequence[AllowedPrefix]
    models_from: Sequence[AllowedPrefix]
    max_bytes: int
    source_client: "S3Client | None" = None
    """Of the store of the sources; None if that is the same."""
    patience: float = 0.0
    """Seconds that the client's own timeouts and attempts allow for a request."""
    put_arguments: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of every PUT: storage class, encryption and so on."""
    events: Events = NO_EVENTS
    _opaque_etags: set[str] = field(default_factory=set)
    """Buckets whose ETags look like an MD5 and are none."""

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
            client = self.source_client or self.client
            response = client.get_object(Bucket=ref.bucket, Key=ref.key, **condition)
        try:
            length = required(response, "ContentLength", ref)
            if length > self.max_bytes:
                raise SourceTooLarge(
                    f"{ref}: expected at most {self.max_bytes:,} bytes (CUTWORK_MAX_BYTES), "
                    f"found {length:,}"
                )
            found = str(required(response, "ETag", ref)).strip('"')
            _require_etag(ref, found, etag)
        except CutworkError:
            response["Body"].close()
            raise
        return Source(
            ref,
            found,
            length,
            response,
            read_body=self._read_body,
            reopen=lambda source: self.open(source.ref, etag=source.etag),
            max_bytes=self.max_bytes,
        )

    def _read_body(self, source: Source) -> bytes:
        with self.request(source.ref):
            data = source.response["Body"].read()
        self.events.image_bytes("read", len(data))
        return data

    def head(self, ref: ImageRef) -> Stored | None:
        """Return what is stored at a key; None if there is no object or no bucket."""
        try:
            with self.request(ref):
                response = self.client.head_object(Bucket=ref.bucket, Key=ref.key)
        except (SourceNotFound, BucketNotFound):
            return None
        return Stored.from_response(response, ref)

    def put(
        self,
        ref: ImageRef,
        data: bytes,
        *,
        content_type: str,
        fingerprint: str,
        output: str,
        source: str = "",
    ) -> str:
        """Store an output atomically, in one request, and return its ETag.

        `source` is the ETag of the source. Raises `StorageRefused`, and deletes the object, if the
        store has kept other bytes than these.
        """
        with self.request(ref):
            response = self.client.put_object(
                Bucket=ref.bucket,
                Key=ref.key,
                Body=data,
                ContentType=content_type,
                Metadata=describe_output(fingerprint, output, source),
                **self.put_arguments,
            )
        etag = required(response, "ETag", ref).strip('"')
        if ref.bucket not in self._opaque_etags and has_other_md5(response, data):
            self._compare(ref, data, etag)
        self.events.image_bytes("written", len(data))
        return str(etag)

    def _compare(self, ref: ImageRef, data: bytes, etag: str) -> None:
        """Read an object back; delete it and raise `StorageRefused` if it has other bytes.

        Sent only for the first ETag of a bucket that is not the MD5 it looks like.
        """
        try:
            with self.request(ref):
                response = self.client.get_object(Bucket=ref.bucket, Key=ref.key)
                with closing(response["Body"]) as body:
                    found = body.read(len(data) + 1)
        except AccessDenied:
            return  # The worker may write but not read, so it cannot compare.
        if response.get("ETag", "").strip('"') != etag:
            return  # Another job has replaced it meanwhile.
        if found == data:
            self._opaque_etags.add(ref.bucket)
            return
        self.remove(ref)
        raise StorageRefused(
            f"{ref}: expected that the {len(data):,} bytes sent are stored, found others, which "
            "were deleted; the object store or a proxy in front of it changes what is written: "
            f"check it with `cutwork doctor --write s3://{ref.bucket}`"
        )

    def renew(self, ref: ImageRef, stored: Stored, *, source: str) -> None:
        """Set an output's modification time to now, by copying it onto itself.

        Raises `OutputsContested`, and deletes the object, if another job had replaced it: some
        stores copy whatever the condition, and now it has the metadata of another output.
        """
        with self.request(ref):
            response = self.client.copy_object(
                Bucket=ref.bucket,
                Key=ref.key,
                CopySource={"Bucket": ref.bucket, "Key": ref.key},
                CopySourceIfMatch=stored.etag,
                ContentType=stored.content_type,
                Metadata=describe_output(stored.fingerprint or "", stored.output or "", source),
                MetadataDirective="REPLACE",
                **self.put_arguments,
            )
        if ref.bucket not in self._opaque_etags and is_other_copy(response, stored):
            self.remove(ref)
            raise OutputsContested(
                f"{ref}: expected the output that was found a moment ago, found another one; two "
                "jobs write to the same destination"
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
                _require_etag(ref, response.get("ETag", "").strip('"'), etag)
                for chunk in body.iter_chunks(2**20):
                    file.write(chunk)
                    restart_clock()


def _require_etag(ref: ImageRef, found: str, expected: str | None) -> None:
    """Raise `StorageUnavailable` for another ETag: some stores send it whatever the condition."""
    if expected is not None and found != expected:
        raise StorageUnavailable(f"{ref}: expected the ETag {expected}, found {found}: replaced")
