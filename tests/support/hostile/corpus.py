"""The corpus of hostile files."""

from collections.abc import Iterator, Sequence
from functools import cache

from tests.support.hostile import (
    ancillary,
    boxes,
    coded,
    damaged,
    deep,
    disguised,
    exif,
    gif_bmp,
    heif,
    icc,
    jpeg,
    png,
    segments,
    tiff,
)
from tests.support.hostile.file import HostileFile


@cache
def corpus() -> Sequence[HostileFile]:
    """Return every hostile file; names are unique."""
    files = tuple(_all())
    assert len({file.name for file in files}) == len(files)
    return files


def _all() -> Iterator[HostileFile]:
    yield from disguised.no_images()
    yield from disguised.misnamed()
    yield from disguised.polyglots()
    yield from damaged.truncated()
    yield from damaged.flipped()
    yield from png.attacks()
    yield from jpeg.attacks()
    yield from exif.attacks()
    yield from tiff.attacks()
    yield from gif_bmp.gifs()
    yield from gif_bmp.bmps()
    yield from boxes.webps()
    yield from boxes.isos()
    yield from heif.attacks()
    yield from coded.attacks()
    yield from deep.attacks()
    yield from segments.attacks()
    yield from ancillary.pngs()
    yield from ancillary.exifs()
    yield from ancillary.webps()
    yield from ancillary.gifs()
    yield from ancillary.tiffs()
    yield from icc.attacks()
