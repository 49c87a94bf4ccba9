"""What an object store answers about an object, and the metadata of an output."""

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from producer.contract.output_metadata import FINGERPRINT, OUTPUT, SOURCE, output_metadata
from producer.contract.s3_uri import ImageRef
from worker.errors import StorageRefused

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import CopyObjectOutputTypeDef, HeadObjectOutputTypeDef

_MD5: Final = re.compile(r"[0-9a-f]{32}")
_PLAIN_ENCRYPTION: Final = (None, "AES256")
"""The encryptions with which an ETag of S3 is the MD5 of the object."""


class Stored(NamedTuple):
    """What S3 returns about an object; the metadata are None for objects of others."""

    etag: str
    length: int
    fingerprint: str | None
    output: str | None
    content_type: str
    modified: datetime | None
    source: str | None = None
    """The ETag of the source that the output was made of; None for outputs of older releases."""
    encryption: str | None = None
    """How the store encrypts it; None if the store does not say."""

    @classmethod
    def from_response(cls, response: "HeadObjectOutputTypeDef", ref: ImageRef) -> Self:
        """Read the answer to a HEAD request; raise `StorageRefused` if it lacks something."""
        metadata = output_metadata(response.get("Metadata", {}))
        return cls(
            required(response, "ETag", ref).strip('"'),
            required(response, "ContentLength", ref),
            metadata.get(FINGERPRINT),
            metadata.get(OUTPUT),
            response.get("ContentType", "application/octet-stream"),
            response.get("LastModified"),
            metadata.get(SOURCE),
            response.get("ServerSideEncryption"),
        )


def required(response: Mapping[str, Any], name: str, ref: ImageRef) -> Any:
    """Return a field that every object store has to send; raise `StorageRefused` without it."""
    if response.get(name) is None:
        raise StorageRefused(
            f"{ref}: expected {name} in the object store's answer, found none; check the store and "
            "any proxy in front of it with `cutwork doctor --write`"
        )
    return response[name]


def describe_output(fingerprint: str, output: str, source: str) -> dict[str, str]:
    """Return the metadata of an output; `source` is the ETag of its source, empty if unknown."""
    metadata = {FINGERPRINT: fingerprint, OUTPUT: output}
    # Metadata are headers: an ETag that cannot be one is left out.
    if source and source.isascii() and source.isprintable():
        metadata[SOURCE] = source
    return metadata


def has_other_md5(response: Mapping[str, Any], data: bytes) -> bool:
    """Return whether the ETag of a PUT looks like an MD5, and is not that of the data."""
    etag = response.get("ETag", "").strip('"')
    if response.get("ServerSideEncryption") not in _PLAIN_ENCRYPTION or not _MD5.fullmatch(etag):
        return False
    return bool(etag != hashlib.md5(data, usedforsecurity=False).hexdigest())


def is_other_copy(response: "CopyObjectOutputTypeDef", original: Stored) -> bool:
    """Return whether the MD5 of a copy is not that of the object to be copied."""
    copied = response.get("CopyObjectResult", {}).get("ETag", "").strip('"')
    # An encrypted object has another ETag than the same bytes without encryption.
    encryptions = (original.encryption, response.get("ServerSideEncryption"))
    if any(encryption not in _PLAIN_ENCRYPTION for encryption in encryptions):
        return False
    etag = original.etag
    return bool(_MD5.fullmatch(copied) and _MD5.fullmatch(etag) and copied != etag)
