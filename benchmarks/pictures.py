"""Small images in a bucket for a stand-in model."""

import io
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


def put_pictures(s3: "S3Client", bucket: str, prefix: str, count: int) -> None:
    """Upload `count` JPEGs of 64×64 pixels under a prefix, named by number."""
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 60).convert("RGB").save(buffer, "JPEG")
    data = buffer.getvalue()

    def put(number: int) -> None:
        s3.put_object(Bucket=bucket, Key=f"{prefix}{number:06d}.jpg", Body=data)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(put, range(count)))
