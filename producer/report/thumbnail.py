"""Thumbnails for the reports, of files or of objects in S3.

A picture that cannot be shown gets a reason instead, so a report never fails because of one.
Needs the `report` extra.
"""

import io
import time
import warnings
from base64 import b64encode
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError
from PIL import Image, ImageOps

from producer.config.s3_errors import S3Condition, classify
from producer.contract.s3_uri import ImageRef

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

SIDE: Final = 240
"""Pixels of the longer side; pages show it at 160 or less, sharp on high-density screens."""
_LARGEST_OBJECT: Final = 64 * 2**20
_MAX_PIXELS: Final = 40_000_000
"""Limit for decoding; a JPEG is decoded at a fraction of its size."""
_LARGEST_THUMBNAIL: Final = 14_000
"""Bytes; 144 of them in base64 keep a page under 3 MB."""
_LARGEST_PROFILE: Final = 4_000
"""Bytes; a profile of a matrix and curves has a few hundred, with sampled curves three thousand."""
_THREADS: Final = 4
_SECONDS: Final = 60
"""Time limit for fetching all objects: a report must not hang on a slow store."""
# An allow list: Pillow would pass an EPS file to Ghostscript.
_FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
_SMOOTH: Final = ("L", "LA", "RGB", "RGBA", "CMYK", "YCbCr")
"""Pillow modes that it can downscale with antialiasing directly."""


class Thumbnail(NamedTuple):
    """A small picture as a data URI, or the reason why there is none."""

    uri: str | None = None
    size: tuple[int, int] = (0, 0)
    """Width and height of the thumbnail in pixels."""
    problem: str = ""


def read_upright(file: Path | BinaryIO, *, side: int | None = None) -> Image.Image | None:
    """Return a picture upright as RGBA, fitted into a square of `side` pixels.

    Returns None if Pillow cannot read it, or, with `side`, if decoding would take much memory.
    """
    try:
        with Image.open(file, formats=_readable()) as opened:
            if side:
                opened.draft(None, (2 * side, 2 * side))
                if opened.width * opened.height > _MAX_PIXELS:
                    return None
                if opened.mode in _SMOOTH:  # downscale first: the other steps then need less memory
                    opened.thumbnail((side, side), Image.Resampling.LANCZOS)
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I"):  # 16 bits: Pillow's own conversion clips at 255
                image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
            image = image.convert("RGBA")
            if side:
                image.thumbnail((side, side), Image.Resampling.LANCZOS)
            return image
    except Exception:  # noqa: BLE001 - Pillow's plugins raise any of their parsers' errors
        return None


@cache
def _readable() -> list[str]:
    """Return the allowed formats that this build of Pillow supports."""
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def fetch_thumbnails(
    refs: Iterable[ImageRef], *, s3: "Callable[[], S3Client]", max_bytes: int = _LARGEST_OBJECT
) -> dict[ImageRef, Thumbnail]:
    """Fetch thumbnails of objects of up to `max_bytes`, a few at a time, within a minute."""
    unique_refs = list(dict.fromkeys(refs))
    if not unique_refs:
        return {}
    try:
        client = s3()
    except (BotoCoreError, ValueError):
        return dict.fromkeys(unique_refs, Thumbnail(problem="S3 is not set up"))
    fetch = partial(_fetch, client, max_bytes=max_bytes, deadline=time.monotonic() + _SECONDS)
    # Set here because threads share warning filters. Pillow still refuses twice its limit.
    with warnings.catch_warnings(), ThreadPoolExecutor(_THREADS) as pool:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return dict(zip(unique_refs, pool.map(fetch, unique_refs), strict=True))


def _fetch(client: "S3Client", ref: ImageRef, *, max_bytes: int, deadline: float) -> Thumbnail:
    if time.monotonic() > deadline:
        return Thumbnail(problem="not fetched in time")
    try:
        response = client.get_object(Bucket=ref.bucket, Key=ref.key)
        with closing(response["Body"]) as body:
            if response["ContentLength"] > max_bytes:
                return Thumbnail(problem="too large for a preview")
            data = body.read()
    except (ClientError, BotoCoreError) as error:
        failure = classify(error)
        if failure.condition in (S3Condition.MISSING_OBJECT, S3Condition.MISSING_BUCKET):
            return Thumbnail(problem="no longer exists")
        answer = failure.answer if isinstance(error, ClientError) else "S3 did not answer"
        return Thumbnail(problem=f"not fetched: {answer}")
    except OSError:
        return Thumbnail(problem="not fetched: S3 did not answer")
    image = read_upright(io.BytesIO(data), side=SIDE)
    return as_data_uri(image) if image else Thumbnail(problem="no preview")


def as_data_uri(image: Image.Image) -> Thumbnail:
    """Return a picture as a thumbnail, with its colour profile if that is a small one for RGB."""
    data, options = b"", {}
    profile = image.info.get("icc_profile") or b""
    if len(profile) <= _LARGEST_PROFILE and profile[16:20] == b"RGB ":
        options["icc_profile"] = profile
    for side, quality in ((SIDE, 80), (SIDE, 50), (SIDE // 2, 50)):
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", quality=quality, **options)
        data = buffer.getvalue()
        if len(data) <= _LARGEST_THUMBNAIL:
            break
    return Thumbnail(f"data:image/webp;base64,{b64encode(data).decode()}", image.size)
