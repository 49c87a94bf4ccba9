"""Metadata beside the pixels: decoders copy it, some of them several times, or parse all of it."""

from typing import Final

from worker.errors import DecompressionBomb

MAX_EXIF_BYTES: Final = 2**20
"""Cameras write less than 64 KiB, one segment of a JPEG. Pillow copies all of it for each further
segment, and makes Python objects of its values."""
MAX_METADATA_BYTES: Final = 16 * 2**20
"""All metadata of a file. Thermal cameras and 3D photographs store up to 10 MiB before the pixels;
further pictures and films lie after the picture and do not count."""


def check_metadata(image_format: str, *, exif: int, total: int) -> None:
    """Raise `DecompressionBomb` for too many bytes of EXIF or of all metadata."""
    for name, found, limit in (
        ("EXIF", exif, MAX_EXIF_BYTES),
        ("metadata", total, MAX_METADATA_BYTES),
    ):
        if found > limit:
            raise DecompressionBomb(
                f"{image_format}: expected at most {limit:,} bytes of {name}, found {found:,} or "
                "more; store it without metadata"
            )
