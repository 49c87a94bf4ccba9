"""What is to happen with each input of a run, whether a listing or a manifest names it."""

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, NamedTuple

from producer.contract.run import RunSpec
from producer.contract.s3_uri import ImageRef
from producer.sync.manifest.manifest import Manifest
from producer.sync.plan.compare import check_layout, compare
from producer.sync.plan.naming import Naming, is_too_long

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


class Step(NamedTuple):
    """What the plan says of one input."""

    cursor: str
    """Where the plan is after it: its key, or its line's number."""
    verdict: str
    """`excluded`, `current`, `conflicting` or `send`."""
    source: ImageRef | None = None
    """None, as are the following, where nothing is to be sent or said."""
    etag: str = ""
    bytes: int | None = None
    image: ImageRef | None = None
    mask: ImageRef | None = None
    reason: str = ""
    """Why it is sent; for what conflicts, the failure's code."""
    message: str = ""


Plan = Callable[[str], Generator[Step, None, None]]
"""The steps of every input behind a cursor, in order."""


def listing_steps(spec: RunSpec, s3: "S3Client") -> Plan:
    """The plan of a run over a prefix, by a `listing_client`; `ValueError` on a wrong place."""
    places = check_layout(spec)

    def plan(cursor: str) -> Generator[Step, None, None]:
        for planned in compare(spec, s3=s3, cursor=cursor):
            source, verdict, reason, image, mask, message = planned
            if verdict not in ("send", "conflicting"):
                yield Step(source.key, verdict)
                continue
            yield Step(
                cursor=source.key,
                verdict=verdict,
                source=ImageRef(bucket=places.source.bucket, key=source.key),
                etag=source.etag,
                bytes=source.size,
                image=_ref(places.image, image),
                mask=_ref(places.mask, mask),
                reason=reason,
                message=message or "",
            )

    return plan


def manifest_steps(manifest: Manifest) -> Plan:
    """The plan of a run over a manifest: every good line is sent."""

    def plan(cursor: str) -> Generator[Step, None, None]:
        for line in manifest.lines(int(cursor or 0)):
            yield Step(
                cursor=str(line.number),
                verdict="send",
                source=line.source,
                image=line.image,
                mask=line.mask,
                reason="listed",
            )

    return plan


def _ref(naming: Naming | None, key: str | None) -> ImageRef | None:
    # A name that is too long makes no reference; the message says what is wrong with it.
    if naming is None or key is None or is_too_long(key):
        return None
    return ImageRef(bucket=naming.target.bucket, key=key)
