"""Files that are not images, have the wrong extension, or are valid in two formats."""

import io
import zipfile
from collections.abc import Iterator

from PIL import Image

from tests.support.hostile.file import DONE, NO_IMAGE, UNSUPPORTED, HostileFile
from tests.support.hostile.originals import originals

PAGE = b"<!doctype html><title>x</title><script>alert(1)</script>"
DRAWING = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"


def no_images() -> Iterator[HostileFile]:
    """Yield other content under names of images."""
    kinds = {
        "zeros.jpg": bytes(100_000),
        "one.png": b"\0",
        "page.jpg": PAGE,
        "drawing.png": DRAWING,
        "entities.png": b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><svg>&b;</svg>',
        "archive.webp": _archive(),
        "document.gif": b"%PDF-1.7\n1 0 obj<<>>endobj\n%%EOF",
        "postscript.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n",
        "program.png": b"\x7fELF\2\1\1" + bytes(60),
        "script.jpg": b"#!/bin/sh\nexit 1\n",
        "link.png": b"[InternetShortcut]\nURL=file:///etc/passwd\n",
        "film.heic": b"\0\0\0\x18ftypisom\0\0\0\0isomiso2" + bytes(100),
        "sound.webp": b"RIFF\x24\0\0\0WAVEfmt " + bytes(28),
        "unicode.png": "\ufeff\u202egnp.jpg".encode(),
        "jp2.jpg": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40),
        "psd.tif": b"8BPS\0\1" + bytes(60),
        "icon.png": b"\0\0\1\0\1\0" + bytes(40),
        "text.jpg": b"P6 60000 60000 255 ",
    }
    for name, data in kinds.items():
        yield HostileFile(f"other/{name}", data, NO_IMAGE)
    yield HostileFile("other/empty.jpg", b"", frozenset({"empty_source"}))


def misnamed() -> Iterator[HostileFile]:
    """Yield valid images with another format's extension: the content decides."""
    files = list(originals().items())
    for (name, data), (other, _) in zip(files, files[5:] + files[:5], strict=True):
        suffix = other.rpartition(".")[2]
        yield HostileFile(f"misnamed/{name}.{suffix}", data, DONE)


def polyglots() -> Iterator[HostileFile]:
    """Yield images with other content appended or embedded."""
    jpeg, png, gif = (originals()[name] for name in ("baseline.jpg", "rgb.png", "moving.gif"))
    pairs = {
        "picture-and-archive.jpg": jpeg + _archive(),
        "picture-and-page.png": png + PAGE,
        "picture-and-page.gif": gif + PAGE,
        "two-pictures.jpg": jpeg + png,
        "many-pictures.jpg": jpeg * 50,
        "page-in-comment.jpg": jpeg[:2] + b"\xff\xfe\0\x3a" + PAGE[:56] + jpeg[2:],
    }
    for name, data in pairs.items():
        yield HostileFile(f"polyglot/{name}", data, DONE)
    inside = io.BytesIO()
    Image.new("RGB", (9, 9)).save(inside, "PNG")
    nested = b"BM" + bytes(8) + b"\x36\0\0\0\x28\0\0\0\x09\0\0\0\x09\0\0\0\1\0\x18\0\5\0\0\0"
    yield HostileFile("polyglot/png-in.bmp", nested + bytes(20) + inside.getvalue(), UNSUPPORTED)


def _archive() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("../../a.jpg"), bytes(1_000_000))
    return data.getvalue()
