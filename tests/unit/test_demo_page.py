"""The demo's page and contact sheet: pictures, links, and hostile file names."""

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from PIL import ExifTags, Image

from deploy.demo.contact_sheet import write_before_after, write_contact_sheet
from deploy.demo.image_facts import ImageFacts
from deploy.demo.page import write_page
from producer.contract.outcome import Outcome

RED = (220, 40, 40)
HOSTILE = """<script>alert('1')</script> "quoted" & 100% #1?.png"""


def shown(folder: Path, name: str = "photo.png", size: tuple[int, int] = (90, 60)) -> ImageFacts:
    """Return a red image whose cut-out keeps the left half."""
    original, cutout, mask = (folder / f"{kind}-{Path(name).name}" for kind in "ocm")
    red = Image.new("RGB", size, RED)
    grey = Image.new("L", size)
    grey.paste(255, (0, 0, size[0] // 2, size[1]))
    red.save(original)
    grey.save(mask)
    red.putalpha(grey)
    red.save(cutout)
    facts: dict[str, Any] = {
        "source": {"ref": "s3://photos/photo.png", "size": size},
        "run": {
            "model": "isnet-general-use",
            "sha256": "0" * 64,
            "engine": "onnxruntime 1.31.1",
            "provider": "CPUExecutionProvider",
            "device": "cpu",
            "dtype": "float32",
        },
        "foreground_share": 0.5,
        "seconds": {"fetch": 0.1, "load": 0.2, "model": 1.5, "store": 0.1, "total": 2.0},
    }
    outcome = Outcome.model_validate({"job_id": "1", "state": "done"} | facts)
    return ImageFacts(name=name, original=original, cutout=cutout, mask=mask, outcome=outcome)


def failed(folder: Path) -> ImageFacts:
    original = folder / "notes.txt"
    original.write_text("no image")
    outcome = Outcome(
        job_id="2",
        state="failed",
        code="not_an_image",
        message="expected one of JPEG, PNG, found 8 bytes that begin with b'no image'",
        seconds={"fetch": 0.01, "total": 0.01},
    )
    return ImageFacts(name="notes.txt", original=original, outcome=outcome)


class Page(HTMLParser):
    """The tags, links and text of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.alts: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("href", "src") and value and not value.startswith("#"):
                self.links.append(value)
            if name == "alt":
                self.alts.append(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def target(link: str, page: Path) -> Path:
    """Return the file that a browser opens for a relative link."""
    assert not {"#", "?", ":"} & set(link)
    return page.parent / unquote_to_bytes(link).decode()


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        return image.size


def columns_of(path: Path, colour: tuple[int, int, int]) -> list[int]:
    """Return the x of every pixel of this colour on one line through the first row's pictures."""
    with Image.open(path) as sheet:
        y = 160
        return [x for x in range(sheet.width) if sheet.getpixel((x, y)) == colour]


def test_contact_sheet_has_one_row_per_image(tmp_path: Path) -> None:
    item, sheet = shown(tmp_path), tmp_path / "sheet.png"
    heights = []
    for count in range(4):
        write_contact_sheet([item] * count, sheet)
        width, height = size_of(sheet)
        assert width == 1200
        heights.append(height)
    step = heights[1] - heights[0]
    assert step > 100
    assert heights == [heights[0] + count * step for count in range(4)]


def test_contact_sheet_shows_original_mask_and_cutout(tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    write_contact_sheet([shown(tmp_path)], sheet)
    red = columns_of(sheet, RED)
    assert len([x for x in red if x < 300]) == 90, "expected the whole original"
    assert not [x for x in red if 300 <= x < 564], "expected no red in the mask"
    assert len([x for x in red if 564 <= x < 828]) == 45, "expected the left half in the cut-out"


def test_thumbnails_are_upright_and_keep_their_shape(tmp_path: Path) -> None:
    item = shown(tmp_path)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (800, 200), RED).save(item.original, exif=exif)
    sheet = tmp_path / "sheet.png"
    write_contact_sheet([item], sheet)
    assert len([x for x in columns_of(sheet, RED) if x < 300]) == 248 // 4
    page = tmp_path / "page.html"
    write_page([item], page, title="t")
    assert 'width="200" height="800"' in " ".join(page.read_text().split())


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
def test_any_pixel_format_is_shown(tmp_path: Path, mode: str) -> None:
    original = tmp_path / "original.tif"
    item = replace(shown(tmp_path), original=original)
    value = 127 * 256 if mode.startswith("I") else None
    image = Image.new(mode, (90, 60), value) if value else Image.new("L", (90, 60), 127)
    (image if value else image.convert(mode)).save(original)
    sheet, strip = tmp_path / "sheet.png", tmp_path / "strip.png"
    write_contact_sheet([item], sheet)
    write_before_after([item], strip)
    if mode not in ("1", "CMYK"):
        assert len(columns_of(sheet, (127, 127, 127))) == 90
    assert size_of(strip)[0] == 1200


def test_page_has_an_article_and_a_table_row_per_image(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    write_page([shown(tmp_path, "a.png"), shown(tmp_path, "b.png")], page, title="Two & more")
    parsed = Page(page)
    assert parsed.tags.count("article") == 2
    assert parsed.tags.count("tr") == 1 + 2
    assert parsed.tags.count("img") == 6
    assert "Two & more" in parsed.text
    assert "50.0% foreground" in parsed.text
    assert "isnet-general-use on cpu" in parsed.text
    assert "1.500" in parsed.text
    assert parsed.alts[:3] == ["Original of a.png", "Mask of a.png", "Cut-out of a.png"]


def test_page_links_are_relative_to_its_folder(tmp_path: Path) -> None:
    page = tmp_path / "reports" / "today" / "page.html"
    page.parent.mkdir(parents=True)
    item = shown(tmp_path)
    write_page([item], page, title="t")
    assert {target(link, page).resolve() for link in Page(page).links} == {
        item.original,
        item.mask,
        item.cutout,
    }


def test_hostile_names_are_text_and_their_links_resolve(tmp_path: Path) -> None:
    folder = tmp_path / "50% #1 <b>:ü"
    folder.mkdir()
    name = f"folder/{HOSTILE}"
    item = replace(shown(folder, "<i> '100%' #1?;.png"), name=name)
    page = tmp_path / "page.html"
    write_page([item], page, title=HOSTILE)
    parsed = Page(page)
    assert "script" not in parsed.tags
    assert name in parsed.text
    assert parsed.alts[0] == f"Original of {name}"
    assert len(parsed.links) == 6
    assert {target(link, page) for link in parsed.links} == {item.original, item.mask, item.cutout}


def test_long_names_and_characters_without_a_glyph_are_drawn(tmp_path: Path) -> None:
    sheet, plain = tmp_path / "sheet.png", tmp_path / "plain.png"
    item = shown(tmp_path)
    write_contact_sheet([item], plain)
    for name in ("日本/Zürich\n\t\0.png", "x" * 1024, HOSTILE, ""):
        write_contact_sheet([replace(item, name=name)], sheet)
        assert size_of(sheet) == size_of(plain), "expected a name on one line"


def test_failed_outcome_is_shown_with_its_code(tmp_path: Path) -> None:
    page, sheet = tmp_path / "page.html", tmp_path / "sheet.png"
    item = failed(tmp_path)
    write_page([item], page, title="t")
    parsed = Page(page)
    assert "not_an_image" in parsed.text
    assert item.outcome.message
    assert item.outcome.message in parsed.text
    assert "1 failed" in parsed.text
    assert "img" not in parsed.tags
    assert [target(link, page) for link in parsed.links] == [item.original]
    write_contact_sheet([item], sheet)
    with Image.open(sheet) as image:
        colours = image.getcolors(maxcolors=1 << 16)
    assert colours
    assert (180, 35, 24) in [colour for _, colour in colours], "expected the code in red"


def test_missing_and_truncated_files_leave_a_frame(tmp_path: Path) -> None:
    item = shown(tmp_path)
    item.original.write_bytes(item.original.read_bytes()[:100])
    assert item.mask
    item.mask.unlink()
    page, sheet = tmp_path / "page.html", tmp_path / "sheet.png"
    write_page([item], page, title="t")
    write_contact_sheet([item], sheet)
    parsed = Page(page)
    assert parsed.tags.count("img") == 1
    assert "No preview" in parsed.text
    assert size_of(sheet)[0] == 1200


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_before_after_fills_its_width(tmp_path: Path, count: int) -> None:
    strip = tmp_path / "strip.png"
    pairs = [shown(tmp_path, f"{n}.png", size=(60 + 20 * n, 60)) for n in range(count)]
    write_before_after([failed(tmp_path), *pairs], strip)
    width, height = size_of(strip)
    assert width == 1200
    assert 60 < height < 660
    if count > 1:
        with Image.open(strip) as image:
            assert image.getpixel((0, 0)) == (*RED, 255)
            assert image.getchannel("A").getpixel((1199, height - 1)) == 255


def test_before_after_needs_a_cutout(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found none among 1"):
        write_before_after([failed(tmp_path)], tmp_path / "strip.png")


def test_empty_reports_are_written(tmp_path: Path) -> None:
    page, sheet = tmp_path / "page.html", tmp_path / "sheet.png"
    write_page([], page, title="t")
    write_contact_sheet([], sheet)
    assert "0 images" in Page(page).text
    assert size_of(sheet)[0] == 1200
