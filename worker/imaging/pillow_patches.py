"""Every patch of Pillow: use of parts whose present form its documentation does not promise.

`pyproject.toml` allows only the minor version that the tests ran with, and
`tests/unit/test_patched_places.py` fails when one of these places has moved. No upstream report is
known for any of them.
"""

import os
import struct
import warnings
import zlib
from collections.abc import Collection, Mapping
from typing import IO, Final

from PIL import Image, ImageFile, PngImagePlugin, TiffImagePlugin

from worker.errors import DecompressionBomb
from worker.imaging.bombs import tiff
from worker.imaging.bombs.icc import MAX_ICC_PROFILE_BYTES
from worker.imaging.bombs.metadata import MAX_EXIF_BYTES

_XMP: Final = b"XML:com.adobe.xmp"
_EXIF, _RAW_EXIF = b"exif", b"Raw profile type exif"
_MAX_KEYWORD_BYTES: Final = 79
_MAX_XMP_BYTES: Final = 4 * 2**20
_MAX_RAW_EXIF: Final = 5 * MAX_EXIF_BYTES // 2
"""Characters: two for each byte, and line ends."""
_IGNORED: Final = "cutwork:ignored"
"""The entry of `info` with the chunks that were ignored: reasons by type."""
_ABOUT_COLOUR: Final = (b"iCCP", b"cICP", b"sRGB", b"gAMA", b"cHRM")
"""Chunks of which `colour.png` gives a warning."""
_KEY_BYTES: Final = {"1": 2, "L": 2, "I;16": 2, "RGB": 6}
"""Bytes of a transparent colour, by Pillow's mode."""


def install() -> None:
    """Apply the patches in this process, before any image is opened."""
    # Pillow looks the class up in this module whenever it reads a TIFF or EXIF block.
    TiffImagePlugin.ImageFileDirectory_v2 = BoundedDirectory  # type: ignore[misc]
    # Upstream: the limit is documented for texts (1 MiB), but holds for ICC profiles as well.
    # Problem: a PNG with a larger profile cannot be opened. Patch: our own limit.
    PngImagePlugin.MAX_TEXT_CHUNK = MAX_ICC_PROFILE_BYTES
    PngImagePlugin.PngStream = LenientPngStream  # type: ignore[misc]
    # Upstream: Pillow warns of every broken tag. Problem: a file of a megabyte can have 65,535 of
    # them, each a line of the log. Patch: no warnings; what matters is an error or in the outcome.
    warnings.filterwarnings("ignore", module=r"(PIL|pillow_heif)\.")


class BoundedDirectory(TiffImagePlugin.ImageFileDirectory_v2):
    """Pillow's TIFF directory, refused before it is read if it has too many entries or values.

    Upstream: Pillow reads TIFF tags and the EXIF blocks of all formats with its class, of some
    formats as soon as a file is opened. Problem: it reads every entry and makes a Python object of
    every value, which can cost far more time than the pixels. Patch: `load` checks the counts first
    and raises `DecompressionBomb`.
    """

    def load(self, fp: IO[bytes]) -> None:
        """Read the directory at the file's position."""
        tiff.check_directory(fp, big_endian=self.prefix == b"MM", bigtiff=self._bigtiff)
        super().load(fp)


class PngStreamWithoutTexts(PngImagePlugin.PngStream):
    """Pillow's reader of PNG chunks, without the texts.

    Upstream: Pillow inflates and decodes all texts as soon as a file is opened. Problems: a small
    file can contain 64 MB of them, which take up to four times as much in memory; and a text with
    the keyword "transparency" or "icc_profile" takes the place of the chunk of that meaning. Patch:
    only texts with XMP and EXIF are read, for the orientation, and only up to a limit.
    """

    def chunk_tEXt(self, pos: int, length: int) -> bytes:  # noqa: N802 - Pillow's name
        """Read a text in Latin-1."""
        if not self._has_keyword(length, {_XMP, _EXIF, _RAW_EXIF}):
            return self._read(length)
        return self._bounded(super().chunk_tEXt(pos, length))

    def chunk_zTXt(self, pos: int, length: int) -> bytes:  # noqa: N802 - Pillow's name
        """Read a compressed text in Latin-1."""
        if not self._has_keyword(length, {_XMP, _RAW_EXIF}):
            return self._read(length)
        return self._bounded(super().chunk_zTXt(pos, length))

    def chunk_iTXt(self, pos: int, length: int) -> bytes:  # noqa: N802 - Pillow's name
        """Read a text in UTF-8."""
        if not self._has_keyword(length, {_XMP}):
            return self._read(length)
        return super().chunk_iTXt(pos, length)

    def _has_keyword(self, length: int, keywords: Collection[bytes]) -> bool:
        """Return whether the chunk at this position is short and has one of the keywords."""
        stream = self._stream()
        head = stream.read(min(length, _MAX_KEYWORD_BYTES + 1))
        stream.seek(-len(head), os.SEEK_CUR)
        return length <= _MAX_XMP_BYTES and head.partition(b"\0")[0] in keywords

    def _read(self, length: int) -> bytes:
        return ImageFile._safe_read(self._stream(), length)

    def _stream(self) -> IO[bytes]:
        if self.fp is None:
            raise ValueError("expected an open PNG, found a closed one")
        return self.fp

    def _bounded(self, data: bytes) -> bytes:
        """Return `data`; raise `DecompressionBomb` if an EXIF text has turned out too long."""
        if len(self.im_info.get(_RAW_EXIF.decode(), "")) > _MAX_RAW_EXIF:
            raise DecompressionBomb(
                f"PNG: expected at most {_MAX_RAW_EXIF:,} characters of EXIF, found more; store "
                "it without metadata"
            )
        return data


class LenientPngStream(PngStreamWithoutTexts):
    """Pillow's reader of PNG chunks, which ignores broken chunks that a decoder may ignore.

    Upstream: Pillow refuses a file for a short gAMA or tRNS, or a wrong checksum of a text.
    Problem: libpng, and with it every browser, ignores such a chunk. Patch: so does this reader, by
    the rules of libpng; `ignored_chunks` names what was ignored.
    """

    def call(self, cid: bytes, pos: int, length: int) -> bytes:
        """Read a chunk; a broken one that is not critical counts as absent."""
        if not _is_ancillary(cid):
            return super().call(cid, pos, length)
        stream = self._stream()
        body = stream.read(length)
        (checksum,) = struct.unpack(">I", stream.read(4).rjust(4, b"\0"))
        stream.seek(pos)
        reason = "its checksum is wrong" if zlib.crc32(cid + body) != checksum else ""
        if not reason:
            try:
                return super().call(cid, pos, length)
            except (ValueError, SyntaxError, IndexError, struct.error) as error:
                reason = str(error) or "it is broken"
                stream.seek(pos)
        if cid == b"iCCP":
            self.im_info.setdefault("icc_profile", None)
        if hasattr(self, f"chunk_{cid.decode()}"):  # Others are never read.
            self.im_info.setdefault(_IGNORED, {}).setdefault(cid, reason)
        return self._read(length)

    def crc(self, cid: bytes, data: bytes) -> None:
        """Compare a chunk's checksum, if `call` has not done so."""
        if _is_ancillary(cid):
            self._read(4)
        else:
            super().crc(cid, data)

    def chunk_tRNS(self, pos: int, length: int) -> bytes:  # noqa: N802 - Pillow's name
        """Read alpha by palette entry, or a transparent colour.

        Raise `ValueError` where libpng ignores it.
        """
        if self.im_tile or "transparency" in self.im_info:
            raise ValueError("expected one before the pixels, found another")
        colours = len(self.im_palette[1]) // 3 if self.im_palette else 0
        key_bytes = _KEY_BYTES.get(self.im_mode, length)
        if self.im_mode == "P" and not 1 <= length <= colours:
            raise ValueError(f"expected 1 to {colours} bytes, found {length}")
        if length != key_bytes:
            raise ValueError(f"expected {key_bytes} bytes, found {length}")
        return super().chunk_tRNS(pos, length)


def ignored_chunks(image: Image.Image) -> tuple[str, ...]:
    """Return a sentence for each type of chunk that was broken, but for those about colour."""
    ignored: Mapping[bytes, str] = image.info.get(_IGNORED, {})
    return tuple(
        f"{kind.decode()} ignored: {reason}"
        for kind, reason in ignored.items()
        if kind not in _ABOUT_COLOUR
    )


def _is_ancillary(kind: bytes) -> bool:
    """Return whether a decoder may ignore chunks of a type; the frames of an APNG are pixels."""
    return kind[0] & 32 > 0 and kind != b"fdAT"
