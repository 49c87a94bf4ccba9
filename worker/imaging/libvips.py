"""What libvips does better than Pillow: pixels of more than 8 bits, and a faster LANCZOS."""

import logging
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pyvips
from numpy.typing import NDArray
from PIL import Image

from worker.imaging.masks import Pixels, Size
from worker.imaging.png import Resolution
from worker.imaging.strips import strips

MAX_THREADS: Final = 4
"""Threads of libvips per picture; `VIPS_CONCURRENCY` can set fewer."""

# Otherwise its cache of operations keeps the last hundred pictures in memory.
pyvips.cache_set_max(0)
# The rows that it keeps of a file read in order grow with its threads, and with them the memory of
# a picture: without a limit, an estimate that holds on a small machine is too low on a large one.
pyvips.concurrency_set(min(pyvips.concurrency_get(), MAX_THREADS))
# It logs a line for every picture that it encodes, and a warning for every broken chunk or tag.
logging.getLogger("pyvips").setLevel(logging.ERROR)

_MM_PER_INCH: Final = 25.4
_DTYPES: Final = {"uchar": np.uint8, "ushort": np.uint16, "uint": np.uint32, "float": np.float32}
"""By libvips' name of a band format."""
_MIN_STRIP_WIDTH: Final = 32
"""Samples. libvips keeps every row of a strip by itself and searches all of them for each row: a
strip of a million narrow rows takes minutes."""


def open_tiff(data: bytes, page: int = 0) -> pyvips.Image:
    """Open a page of a TIFF for `read_strips`; raise `pyvips.Error` for a broken file."""
    # Otherwise libtiff refuses tags of 50 MB, which Photoshop writes. Their bytes are in the memory
    # estimate, and the reader of the directory has refused those that share them.
    return pyvips.Image.tiffload_buffer(
        data, page=page, fail_on="error", access="sequential", unlimited=True
    )


def read_strips(image: pyvips.Image) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Yield the rows of an image in order with its pixels (rows, W, bands).

    Open the image with `access="sequential"`, so that libvips keeps some rows only. Raise
    `pyvips.Error` for a broken file.
    """
    region = pyvips.Region.new(image)
    for rows in strips(image.height, max(image.width * image.bands, _MIN_STRIP_WIDTH)):
        height = rows.stop - rows.start
        pixels = np.frombuffer(
            region.fetch(0, rows.start, image.width, height), _DTYPES[image.format]
        )
        yield rows, pixels.reshape(height, image.width, image.bands)


def resize_lanczos(rgb: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Resize (H, W, 3) to `size` (width, height) by LANCZOS in a fifth of Pillow's time.

    For large photographs the result is within two levels of Pillow's, for noise it is not. If a
    side grows, Pillow resizes.
    """
    (height, width), (new_width, new_height) = rgb.shape[:2], size
    if new_width > width or new_height > height:
        return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS))
    image = pyvips.Image.new_from_array(rgb, interpretation="srgb")
    resized = image.resize(new_width / width, vscale=new_height / height, kernel="lanczos3")
    return np.asarray(resized.numpy(), np.uint8)


def write_tiff(pixels: Pixels, *, icc_profile: bytes | None, dpi: Resolution | None) -> bytes:
    """Return a TIFF of (H, W), (H, W, 3) or (H, W, 4) pixels, uint8 or uint16.

    A TIFF must have a resolution; an unknown one is written as 72 dpi.
    """
    names = ("grey16", "rgb16") if pixels.dtype == np.uint16 else ("b-w", "srgb")
    image = pyvips.Image.new_from_array(pixels, interpretation=names[pixels.ndim == 3])
    x, y = dpi or (72, 72)
    image = image.copy(xres=x / _MM_PER_INCH, yres=y / _MM_PER_INCH)
    if icc_profile is not None:
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", icc_profile)
    data: bytes = image.tiffsave_buffer(
        compression="deflate", predictor="horizontal", resunit="inch", keep="icc"
    )
    return data
