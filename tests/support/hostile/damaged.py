"""Valid files truncated at every boundary, and with flipped bits."""

import random
from collections.abc import Iterator

from tests.support.hostile.boundaries import boundaries
from tests.support.hostile.file import ANY, EITHER, HostileFile
from tests.support.hostile.originals import originals

FLIPPED = 3
"""The number of files with flipped bits per original."""
WALKED = (
    *("baseline.jpg", "progressive.jpg", "rgb.png", "moving.gif", "plain.tif"),
    *("jpeg.tif", "lossy.webp", "photo.avif", "photo.heic"),
    "palette.bmp",
)
"""One original for each file structure."""


def truncated() -> Iterator[HostileFile]:
    for name in WALKED:
        data = originals()[name]
        for place in boundaries(name, data):
            yield HostileFile(f"truncated/{place}-{name}", data[:place], EITHER)


def flipped() -> Iterator[HostileFile]:
    """Yield files with 1 to 16 flipped bits; in half of them all are in the first 200 bytes."""
    for name, data in originals().items():
        for number in range(FLIPPED):
            source = random.Random(f"{name} {number}")
            reach = len(data) if number % 2 else min(len(data), 200)
            broken = bytearray(data)
            for _ in range(2 ** (number % 5)):
                broken[source.randrange(reach)] ^= 1 << source.randrange(8)
            yield HostileFile(f"flipped/{number}-{name}", bytes(broken), ANY)
