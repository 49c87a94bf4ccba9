"""Ten files that are not photographs, each with the error code it must fail with."""

from collections.abc import Mapping
from typing import Final

_PNG: Final = b"\x89PNG\r\n\x1a\n"


def broken_files(*, jpeg: bytes, png: bytes) -> Mapping[str, tuple[bytes, str]]:
    """Return bytes and error code by name; some are the valid `jpeg` and `png`, truncated."""
    return {
        "archive.webp": (b"PK\x03\x04" + bytes(60), "not_an_image"),
        "cut.png": (_PNG + b"\x00\x00\x00\rIHDR", "corrupt_image"),
        "empty.jpg": (b"", "empty_source"),
        "folder/half.jpg": (jpeg[: len(jpeg) // 2], "corrupt_image"),
        "folder/part.png": (png[: len(png) // 2], "corrupt_image"),
        "gif.gif": (b"GIF89a\x01\x00\x01\x00", "corrupt_image"),
        "header.jpg": (b"\xff\xd8\xff\xe0\x00\x10JFIF", "corrupt_image"),
        "page.jpg": (b"<!doctype html><title>404</title>", "not_an_image"),
        "text.jpg": (b"this is no photograph", "not_an_image"),
        "zeros.jpg": (bytes(500), "not_an_image"),
    }
