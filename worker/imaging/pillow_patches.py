"""Every patch of Pillow: use of parts whose present form its documentation does not promise.

`pyproject.toml` allows only the minor version that the tests ran with, and
`tests/unit/test_patched_places.py` fails when one of these places has moved. No upstream report is
known for either patch.
"""

from typing import IO

from PIL import PngImagePlugin, TiffImagePlugin

from worker.imaging.bombs import tiff
from worker.imaging.bombs.icc import MAX_ICC_PROFILE_BYTES


def install() -> None:
    """Apply the patches in this process, before any image is opened."""
    # Pillow looks the class up in this module whenever it reads a TIFF or EXIF block.
    TiffImagePlugin.ImageFileDirectory_v2 = BoundedDirectory  # type: ignore[misc]
    # Upstream: the limit is documented for texts (1 MiB), but holds for ICC profiles as well.
    # Problem: a PNG with a larger profile cannot be opened. Patch: our own limit.
    PngImagePlugin.MAX_TEXT_CHUNK = MAX_ICC_PROFILE_BYTES


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
