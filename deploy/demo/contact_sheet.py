"""The demo's PNGs: a contact sheet, and the before/after picture of the README.

A file that is missing or that Pillow cannot read leaves an empty frame, because failed jobs are
shown too and their sources are often not images.
"""

import textwrap
import unicodedata
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from PIL import Image, ImageDraw, ImageFont

from deploy.demo.image_facts import ImageFacts, slowest, summary
from producer.report.stages import STAGES
from producer.report.thumbnail import read_upright

_WIDTH: Final = 1200
_MARGIN: Final = 36
_GAP: Final = 16
_THUMBNAIL: Final = 248
_TEXT_LEFT: Final = _MARGIN + 3 * (_THUMBNAIL + _GAP) + 12
_TEXT_WIDTH: Final = _WIDTH - _MARGIN - _TEXT_LEFT
_HEADER: Final = 120
_LEADING: Final = 18
_SQUARE: Final = 8
_TALLEST_PAIR: Final = 320

_INK: Final = "#1b1f24"
_GREY: Final = "#5b636e"
_LINE: Final = "#e3e6ea"
_EMPTY: Final = "#f4f5f7"
_RED: Final = "#b42318"


def write_contact_sheet(shown: Sequence[ImageFacts], path: Path) -> None:
    """Write a PNG with a row per image: original, mask, cut-out, facts and stage times.

    It is 1200 pixels wide; the bars of all rows share one scale.
    """
    rows = [_row(one) for one in shown]
    height = _HEADER + sum(row.height + 2 * _GAP for row in rows) + _MARGIN - _GAP
    sheet = Image.new("RGB", (_WIDTH, height), "white")
    draw = ImageDraw.Draw(sheet)
    _draw_header(draw, summary(shown))
    longest = slowest(shown)
    top = _HEADER
    for row in rows:
        draw.line((_MARGIN, top, _WIDTH - _MARGIN, top), fill=_LINE if top > _HEADER else _INK)
        for column, picture in enumerate(row.pictures):
            place = (_MARGIN + column * (_THUMBNAIL + _GAP), top + _GAP)
            sheet.paste(picture, place)
        _draw_facts(draw, top + _GAP, row, longest=longest)
        top += row.height + 2 * _GAP
    sheet.save(path, format="PNG", optimize=True)


def write_before_after(shown: Sequence[ImageFacts], path: Path) -> None:
    """Write a PNG of pairs, original left and cut-out right, three or two pairs per row.

    It is 1200 pixels wide and transparent between the pairs, so it suits light and dark pages.
    Images without a cut-out are left out. Raises `ValueError` if none has one.
    """
    pictures = [(_read(one.original), _read(one.cutout)) for one in shown]
    pairs = [(before, after) for before, after in pictures if before and after]
    if not pairs:
        raise ValueError(f"expected images with a cut-out, found none among {len(shown)}")
    columns = 3 if len(pairs) % 3 == 0 else 2
    rows = [pairs[start : start + columns] for start in range(0, len(pairs), columns)]
    strips = [_strip(row) for row in rows]
    height = sum(strip.height for strip in strips) + _GAP * (len(strips) - 1)
    whole = Image.new("RGBA", (_WIDTH, height))
    top = 0
    for strip in strips:
        whole.paste(strip, ((_WIDTH - strip.width) // 2, top))
        top += strip.height + _GAP
    whole.save(path, format="PNG", optimize=True)


class _Row(NamedTuple):
    """One row of the contact sheet."""

    shown: ImageFacts
    pictures: Sequence[Image.Image]
    lines: Sequence[tuple[str, str]]
    """Text and its colour."""
    height: int


def _row(one: ImageFacts) -> _Row:
    """Read the files, make thumbnails, and measure: pictures or text may be taller."""
    paths = (one.original, one.mask, one.cutout)
    pictures = [_read(path) for path in paths]
    lines = [(text, _GREY) for text in one.facts(pictures[0].size if pictures[0] else None)]
    if not one.outcome.ok:
        lines.append((f"failed: {one.outcome.code}", _RED))
        message = textwrap.wrap(_drawable(one.outcome.message or ""), 46, max_lines=6)
        lines += [(text, _GREY) for text in message]
    for picture in filter(None, pictures):
        picture.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
    height = max(
        76 + _LEADING * len(lines), *(picture.height for picture in pictures if picture), 0
    )
    framed = [
        _on_checkerboard(picture) if picture else _empty(height, "not readable" if path else "none")
        for path, picture in zip(paths, pictures, strict=True)
    ]
    return _Row(one, framed, lines, height)


def _draw_header(draw: ImageDraw.ImageDraw, counts: str) -> None:
    _write(draw, (_MARGIN, 28), "Cutwork", size=28, fill=_INK)
    _write(draw, (_MARGIN + 124, 40), counts, size=14)
    left = _WIDTH - _MARGIN
    for name, colour in reversed(STAGES.items()):
        left -= round(_font(13).getlength(name))
        _write(draw, (left, 41), name)
        draw.rectangle((left - 16, 43, left - 6, 53), fill=colour)
        left -= 32
    for column, heading in enumerate(("Original", "Mask", "Cut-out")):
        place = (_MARGIN + column * (_THUMBNAIL + _GAP), 90)
        _write(draw, place, heading, size=14, fill=_INK)
    _write(draw, (_TEXT_LEFT, 90), "Time per stage", size=14, fill=_INK)


def _draw_facts(draw: ImageDraw.ImageDraw, top: int, row: _Row, *, longest: float) -> None:
    one = row.shown
    _write(draw, (_TEXT_LEFT, top), one.name, size=18, fill=_INK)
    for number, (text, fill) in enumerate(row.lines):
        _write(draw, (_TEXT_LEFT, top + 28 + _LEADING * number), text, fill=fill)
    bar = top + 36 + _LEADING * len(row.lines)
    draw.rectangle((_TEXT_LEFT, bar, _WIDTH - _MARGIN - 1, bar + 11), fill=_EMPTY)
    end = 0.0
    for _, colour, seconds in one.stages:
        start, end = end, end + seconds / longest * _TEXT_WIDTH
        if round(end) > round(start):
            edges = (_TEXT_LEFT + round(start), bar, _TEXT_LEFT + round(end) - 1, bar + 11)
            draw.rectangle(edges, fill=colour)
    stages = sorted(one.stages, key=lambda stage: stage[2], reverse=True)[:3]
    times = ", ".join(f"{name} {seconds:.2f}" for name, _, seconds in stages if seconds >= 0.005)
    total = f"{one.total:.2f} s"
    _write(draw, (_TEXT_LEFT, bar + 20), total, size=15, fill=_INK)
    _write(draw, (_TEXT_LEFT + round(_font(15).getlength(total)) + 12, bar + 21), times)


def _write(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    *,
    size: int = 13,
    fill: str = _GREY,
) -> None:
    """Draw one line; a long text loses its start, because the end of a key says more."""
    font, text = _font(size), _drawable(text)
    while font.getlength(text) > _TEXT_WIDTH:
        text = "…" + text.removeprefix("…")[1:]
    draw.text(place, text, fill=fill, font=font)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def _drawable(text: str) -> str:
    """Return the text in ASCII, all that Pillow's font has: accents dropped, others as `?`."""
    signs = unicodedata.normalize("NFKD", text.replace("×", "x"))
    return "".join(
        sign if " " <= sign <= "~" else "?" for sign in signs if not unicodedata.combining(sign)
    )


def _read(path: Path | None) -> Image.Image | None:
    """Return the upright image as RGBA, or None if there is none to show."""
    return read_upright(path) if path else None


def _strip(pairs: Sequence[tuple[Image.Image, Image.Image]]) -> Image.Image:
    """Return pairs side by side at one height that fills the width, within `_TALLEST_PAIR`."""
    shapes = [before.width / before.height for before, _ in pairs]
    room = _WIDTH - _GAP * (len(pairs) - 1)
    height = min(_TALLEST_PAIR, room / (2 * sum(shapes)))
    widths = [max(1, round(height * shape)) for shape in shapes]
    if height < _TALLEST_PAIR:
        widths[-1] = max(1, room // 2 - sum(widths[:-1]))  # the remainder of the rounding
    strip = Image.new("RGBA", (2 * sum(widths) + _WIDTH - room, max(1, round(height))))
    left = 0
    for pair, width in zip(pairs, widths, strict=True):
        for picture in pair:
            small = picture.resize((width, strip.height), Image.Resampling.LANCZOS)
            strip.paste(_on_checkerboard(small), (left, 0))
            left += width
        left += _GAP
    return strip


def _empty(height: int, text: str) -> Image.Image:
    frame = Image.new("RGB", (_THUMBNAIL, height), _EMPTY)
    middle = (_THUMBNAIL / 2, height / 2)
    ImageDraw.Draw(frame).text(middle, text, fill=_GREY, font=_font(13), anchor="mm")
    return frame


def _on_checkerboard(picture: Image.Image) -> Image.Image:
    columns, rows = (side // _SQUARE + 1 for side in picture.size)
    squares = bytes(255 - 20 * ((x + y) % 2) for y in range(rows) for x in range(columns))
    board = Image.frombytes("L", (columns, rows), squares)
    board = board.resize((columns * _SQUARE, rows * _SQUARE), Image.Resampling.NEAREST)
    board = board.crop((0, 0, *picture.size)).convert("RGBA")
    board.alpha_composite(picture)
    return board
