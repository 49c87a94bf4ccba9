"""A round trip of one small object, which shows whether an object store keeps what it is given."""

import hashlib
import uuid
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from botocore.exceptions import ClientError

from producer.config.s3_errors import S3Condition, classify
from producer.contract.output_metadata import FINGERPRINT, OUTPUT, output_metadata

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_BODY: Final = bytes(range(256)) * 8 + b"\r\n0;chunk\r\n"
_OTHER_ETAG: Final = "0" * 32


class Deviation(NamedTuple):
    """A way in which an object store differs from S3."""

    part: Literal["bytes", "metadata", "copy", "condition", "listing", "removal"]
    sentence: str
    """What was expected, what was found, and what follows from it."""

    @property
    def is_fatal(self) -> bool:
        """Whether outputs would be damaged, or be made again by every job."""
        return self.part in ("bytes", "metadata")

    @property
    def is_harmless(self) -> bool:
        """Whether a worker copes with it."""
        return self.part == "condition"


def round_trip(
    s3: "S3Client", *, bucket: str, prefix: str, arguments: Mapping[str, Any] | None = None
) -> list[Deviation]:
    """Write, read, copy, list and remove an object; return how the store deviates from S3.

    `arguments` are those with which outputs are written. Raises botocore's errors if the object
    cannot be written or read at all.
    """
    key = f"{prefix}cutwork-check-{uuid.uuid4().hex}"
    probe = _Probe(s3, bucket, key, arguments or {})
    etag = probe.put()
    deviations: list[Deviation] = []
    try:
        deviations += probe.compare_bytes()
        deviations += probe.compare_metadata("first")
        deviations += probe.compare_copy(etag)
        deviations += probe.compare_listing()
    finally:
        try:
            s3.delete_object(Bucket=bucket, Key=key)
        except ClientError as error:
            sentence = f"s3://{bucket}/{key} cannot be removed ({classify(error).answer})"
            deviations.append(Deviation("removal", f"{sentence}; give s3:DeleteObject"))
    return deviations


class _Probe(NamedTuple):
    """The object of a round trip."""

    s3: "S3Client"
    bucket: str
    key: str
    arguments: Mapping[str, Any]

    def put(self) -> str:
        """Write the object with the metadata `first` and return its ETag."""
        response = self.s3.put_object(
            Bucket=self.bucket,
            Key=self.key,
            Body=_BODY,
            ContentType="image/png",
            Metadata=_metadata("first"),
            **self.arguments,
        )
        return response.get("ETag", "")

    def compare_bytes(self) -> Iterator[Deviation]:
        """Read the object back."""
        response = self.s3.get_object(Bucket=self.bucket, Key=self.key)
        found = response["Body"].read()
        if found != _BODY:
            framed = "; it keeps the frames of a checksum trailer" if _BODY in found else ""
            yield Deviation(
                "bytes", f"expected the {len(_BODY)} bytes written, found {len(found)}{framed}"
            )

    def compare_metadata(self, label: str) -> Iterator[Deviation]:
        """Read the object's metadata, which must be those of `label`, its length and its ETag."""
        response = self.s3.head_object(Bucket=self.bucket, Key=self.key)
        metadata = output_metadata(response.get("Metadata", {}))
        if {name: metadata.get(name) for name in _metadata(label)} != _metadata(label):
            names = ", ".join(sorted(metadata)) or "none"
            yield Deviation(
                "metadata",
                f"expected the metadata written, x-amz-meta-{FINGERPRINT} and x-amz-meta-{OUTPUT}, "
                f"found {names}; without them every output is made again by every job",
            )
        length = response.get("ContentLength")
        if length != len(_BODY) or not response.get("ETag"):
            yield Deviation(
                "metadata",
                f"expected Content-Length {len(_BODY)} and an ETag of a HEAD request, found "
                f"{length} and {response.get('ETag') or 'none'}",
            )

    def compare_copy(self, etag: str) -> Iterator[Deviation]:
        """Copy the object onto itself, first on a condition that does not hold."""
        consequence = "outputs that are older than their sources are sent by every sync"
        try:
            self._copy("wrong", _OTHER_ETAG)
        except ClientError as error:
            failure = classify(error)
            if failure.answer not in ("PreconditionFailed", "412"):
                sentence = f"expected PreconditionFailed for a wrong ETag, found {failure.answer}"
                yield Deviation("copy", f"{sentence}; {consequence}")
                return
        else:
            yield Deviation(
                "condition",
                "a copy is made although its condition does not hold; workers compare the ETag "
                "after a copy instead",
            )
        try:
            self._copy("second", etag)
        except ClientError as error:
            sentence = f"expected a copy of an object onto itself, found {classify(error).answer}"
            yield Deviation("copy", f"{sentence}; {consequence}")
            return
        yield from (
            Deviation("copy", f"after a copy: {deviation.sentence}")
            for deviation in (*self.compare_metadata("second"), *self.compare_bytes())
        )

    def _copy(self, label: str, etag: str) -> None:
        self.s3.copy_object(
            Bucket=self.bucket,
            Key=self.key,
            CopySource={"Bucket": self.bucket, "Key": self.key},
            CopySourceIfMatch=etag.strip('"'),
            ContentType="image/png",
            Metadata=_metadata(label),
            MetadataDirective="REPLACE",
            **self.arguments,
        )

    def compare_listing(self) -> Iterator[Deviation]:
        """List the object."""
        try:
            page = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=self.key)
        except ClientError as error:
            failure = classify(error)
            refused = failure.condition is S3Condition.FORBIDDEN
            advice = "give s3:ListBucket" if refused else "cutwork sync cannot list it"
            yield Deviation("listing", f"expected a listing, found {failure.answer}; {advice}")
            return
        found = [(item["Key"], item.get("Size")) for item in page.get("Contents", [])]
        if found != [(self.key, len(_BODY))]:
            yield Deviation(
                "listing",
                f"expected the object that was written a moment ago and its size, found {found}",
            )


def _metadata(label: str) -> dict[str, str]:
    return {FINGERPRINT: hashlib.sha256(label.encode()).hexdigest(), OUTPUT: "image"}
