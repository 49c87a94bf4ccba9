"""Target: `worker.imaging.decode.decode`.

A picture or a `CutworkError` is a pass; anything else is a finding.
"""

import sys
import warnings
from contextlib import suppress

import atheris

with atheris.instrument_imports(include=["PIL", "pillow_heif", "worker"]):
    import numpy as np

    from worker.errors import CutworkError
    from worker.imaging.decode import open_image

MAX_PIXELS = 1_000_000
"""Small, so that high memory or time is the fault of a parser and not of a large picture."""


def fuzz_one(data: bytes) -> None:
    """Decode an input with 8 or 16 bits, as its last bit says."""
    depth = np.uint16 if data[-1:] and data[-1] & 1 else np.uint8
    with suppress(CutworkError):
        picture = open_image(data, max_pixels=MAX_PIXELS).decode(depth=depth)
        width, height = picture.size
        assert picture.rgb.shape == (height, width, 3)
        assert picture.alpha is None or picture.alpha.shape == (height, width)
        assert picture.rgb.dtype == depth


if __name__ == "__main__":
    # Pillow warns of every invalid tag.
    warnings.simplefilter("ignore")
    atheris.Setup(sys.argv, fuzz_one)
    atheris.Fuzz()
