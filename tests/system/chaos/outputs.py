"""Check that the objects in the bucket are the requested outputs."""

import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal

from botocore.exceptions import ClientError
from PIL import Image, UnidentifiedImageError

from tests.system.chaos.load import Item

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

State = Literal["valid", "invalid", "absent"]
_SIZE = (64, 64)


def states(s3: "S3Client", items: Iterable[Item]) -> list[State]:
    """Return the state of each item's outputs, in order."""
    with ThreadPoolExecutor(4) as threads:
        return list(threads.map(lambda item: state(s3, item), items))


def state(s3: "S3Client", item: Item) -> State:
    """Return `valid` if both outputs are intact and have the same fingerprint."""
    image, mask = _read(s3, item.image), _read(s3, item.mask)
    if image is None and mask is None:
        return "absent"
    if image is None or mask is None:
        return "invalid"
    forms = [(image, "RGBA", "image"), (mask, "L", "mask")]
    sound = all(
        metadata.get("cutwork-output") == role and _is_picture(data, mode)
        for (data, metadata), mode, role in forms
    )
    same = image[1].get("cutwork-fingerprint") == mask[1].get("cutwork-fingerprint") is not None
    return "valid" if sound and same else "invalid"


def _read(s3: "S3Client", key: str) -> tuple[bytes, dict[str, str]] | None:
    try:
        response = s3.get_object(Bucket="cutouts", Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        return None
    return response["Body"].read(), response["Metadata"]


def _is_picture(data: bytes, mode: str) -> bool:
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            return (image.mode, image.size) == (mode, _SIZE)
    except (UnidentifiedImageError, OSError, SyntaxError):
        return False
