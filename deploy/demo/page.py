"""The demo's page: every photograph with its mask, cut-out, facts and stage times."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from PIL import Image, ImageOps

from deploy.demo.image_facts import ImageFacts, slowest, summary
from producer.report.stages import STAGES
from producer.report.template import environment

_FOR_BROWSERS: Final = frozenset({"AVIF", "BMP", "GIF", "JPEG", "MPO", "PNG", "WEBP"})


def write_page(shown: Sequence[ImageFacts], path: Path, *, title: str) -> None:
    """Write an HTML page without scripts; it links to the files relative to its folder."""
    templates = environment(Path(__file__).parent)
    templates.filters["frames"] = partial(_frames, folder=path.parent)
    page = templates.get_template("page.html").render(
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
    """Return a relative URL with the file name's bytes percent-encoded."""
    return quote(os.fsencode(os.path.relpath(path, folder)))


def _size_in_browser(path: Path) -> tuple[int, int] | None:
    """Return width and height of the upright image; None if a browser cannot show it."""
    try:
        with Image.open(path) as file:
            return ImageOps.exif_transpose(file).size if file.format in _FOR_BROWSERS else None
    except Exception:  # noqa: BLE001 - Pillow's plugins raise any of their parsers' errors
        return None
