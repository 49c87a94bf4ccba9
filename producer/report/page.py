"""The visual report of a run: a page, a contact sheet, and a strip for a README.

Needs the `report` extra. The page is here, the PNGs are drawn in `producer.report.png`.
"""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from PIL import Image, ImageOps

from producer.report.image_facts import STAGES, ImageFacts, slowest, summary
from producer.report.png import write_before_after, write_contact_sheet
from producer.report.template import environment

__all__ = ["ImageFacts", "write_before_after", "write_contact_sheet", "write_page"]

_FOR_BROWSERS: Final = frozenset({"AVIF", "BMP", "GIF", "JPEG", "MPO", "PNG", "WEBP"})


def write_page(shown: Sequence[ImageFacts], path: Path, *, title: str) -> None:
    """Write an HTML page without scripts that shows the files by links relative to its folder."""
    templates = environment()
    templates.filters["frames"] = partial(_frames, folder=path.parent)
    page = templates.get_template("report.html").render(
        title=title, shown=shown, stages=STAGES, slowest=slowest(shown), summary=summary(shown)
    )
    path.write_text(page, encoding="utf-8")


class _Frame(NamedTuple):
    """One picture of the page."""

    what: str
    href: str | None
    size: tuple[int, int] | None
    """None when a browser cannot show the file."""


def _frames(one: ImageFacts, *, folder: Path) -> list[_Frame]:
    files = (("original", one.original), ("mask", one.mask), ("cut-out", one.cutout))
    return [
        _Frame(what, _link(path, folder=folder), _size_in_browser(path))
        if path and path.is_file()
        else _Frame(what, None, None)
        for what, path in files
    ]


def _link(path: Path, *, folder: Path) -> str:
    """A relative URL; its bytes are those of the file's name, whatever they mean in a URL."""
    return quote(os.fsencode(os.path.relpath(path, folder)))


def _size_in_browser(path: Path) -> tuple[int, int] | None:
    """Width and height of an image, upright; None for what a browser would leave blank."""
    try:
        with Image.open(path) as file:
            return ImageOps.exif_transpose(file).size if file.format in _FOR_BROWSERS else None
    except Exception:  # noqa: BLE001 - Pillow's plugins raise whatever their parsers raise
        return None
