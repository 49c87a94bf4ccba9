"""BMP: run lengths, which Pillow reads in Python, packet by packet."""

from typing import Final

from worker.errors import DecompressionBomb, ImageTooLarge

_MOST_PIXELS: Final = 10_000_000
"""Up to seven seconds. Screens are smaller, and nothing else is stored so."""
_HEADERS: Final = 4096


def check_run_lengths(data: bytes, pixels: int) -> None:
    """Raise where a run-length coded BMP has too many pixels, or packets that make none."""
    if pixels > _MOST_PIXELS:
        raise ImageTooLarge(
            f"expected at most {_MOST_PIXELS:,} pixels in a run-length coded BMP, "
            f"found {pixels:,}; store it as PNG"
        )
    # The longest coding of a pixel that means anything has two bytes.
    if len(data) > 2 * pixels + pixels // 2 + _HEADERS:
        raise DecompressionBomb(
            f"BMP: expected at most two bytes for each of {pixels:,} pixels, "
            f"found {len(data):,} in all"
        )
