"""TIFFs over everything that decides how samples are stored, with the pixels they should give.

tifffile writes them and reads the samples back, independently of the libraries that the worker
uses; `expected` then applies what TIFF 6.0 says about them.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import tifffile
from numpy.typing import NDArray

WIDTH, HEIGHT = 35, 21
Samples = NDArray[Any]

_COLOURS: Final = {"minisblack": 1, "miniswhite": 1, "rgb": 3, "palette": 1, "separated": 4}
_EXTRAS: Final = (
    (),
    (),
    ("unassalpha",),
    ("assocalpha",),
    ("unspecified",),
    ("unassalpha", "unspecified"),
    ("unspecified", "unassalpha"),
    ("unspecified", "unspecified", "assocalpha"),
)
_KINDS: Final = ("u1", "u1", "u2", "u2", "u2", "u4", "f2", "f4", "i2")
_COMPRESSIONS: Final = (None, None, "lzw", "packbits", "zlib", "adobe_deflate", "zstd", "lzma")
_TILES: Final = (None, None, None, (16, 16), (32, 16))


@dataclass(frozen=True, kw_only=True)
class Tiff:
    """A TIFF and how its samples are stored."""

    photometric: str
    kind: str
    """dtype of the samples."""
    extras: tuple[str, ...]
    planar: bool
    compression: str | None
    predictor: bool
    tile: tuple[int, int] | None
    byteorder: str
    bigtiff: bool
    rows_per_strip: int
    profile: bytes | None
    data: bytes
    colormap: NDArray[np.uint16] | None

    def __str__(self) -> str:
        facts = {
            name: value
            for name, value in vars(self).items()
            if name not in ("data", "colormap", "profile")
        }
        return f"{facts}, profile of {len(self.profile or b'')} bytes"

    def samples(self) -> Samples:
        """Return the samples (H, W, n) as tifffile reads them."""
        read = tifffile.imread(io.BytesIO(self.data), squeeze=False)
        read = np.squeeze(read)
        if self.planar and read.ndim == 3:
            read = np.moveaxis(read, 0, -1)
        return np.asarray(read.reshape(HEIGHT, WIDTH, -1))


def tiffs(seed: int, count: int, profiles: dict[str, bytes]) -> Iterator[Tiff]:
    """Yield that many TIFFs; the same seed gives the same files.

    `profiles` has an ICC profile for each of grey, rgb and cmyk.
    """
    random = np.random.default_rng(seed)

    def choice(options: Any) -> Any:
        return options[random.integers(len(options))]

    made = 0
    while made < count:
        photometric, kind = choice(tuple(_COLOURS)), choice(_KINDS)
        extras, planar = choice(_EXTRAS), bool(random.integers(2))
        if photometric == "palette" and (kind not in ("u1", "u2") or extras):
            continue
        samples = _COLOURS[photometric] + len(extras)
        pixels = _pixels(random, kind, samples)
        colormap = None
        if photometric == "palette":
            colormap = random.integers(0, 65536, (3, 256 if kind == "u1" else 65536), np.uint16)
        space = {"separated": "cmyk", "rgb": "rgb", "palette": "rgb"}.get(photometric, "grey")
        compression = choice(_COMPRESSIONS)
        facts = {
            "photometric": photometric,
            "kind": kind,
            "extras": extras,
            "planar": planar and samples > 1,
            "compression": compression,
            "predictor": compression in ("lzw", "zlib") and kind[0] != "i" and choice((0, 1)) == 1,
            "tile": choice(_TILES),
            "byteorder": choice("<>"),
            "bigtiff": bool(random.integers(2)),
            "rows_per_strip": choice((1, 5, 16, HEIGHT)),
            "profile": choice((None, None, profiles[space])),
        }
        yield Tiff(**facts, colormap=colormap, data=_write(pixels, facts, colormap))
        made += 1


def _pixels(random: np.random.Generator, kind: str, samples: int) -> Samples:
    shape = (HEIGHT, WIDTH, samples)
    if kind[0] == "f":
        # A few levels lie outside of black and white.
        return random.uniform(-0.1, 1.1, shape).astype(kind)
    limits = np.iinfo(kind)
    return random.integers(limits.min, limits.max, shape, np.dtype(kind), endpoint=True)


def _write(pixels: Samples, facts: dict[str, Any], colormap: Samples | None) -> bytes:
    if pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    elif facts["planar"]:
        pixels = np.moveaxis(pixels, -1, 0)
    options: dict[str, Any] = {}
    if pixels.ndim == 3:
        options["planarconfig"] = "separate" if facts["planar"] else "contig"
    if facts["tile"] is None:
        options["rowsperstrip"] = facts["rows_per_strip"]
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        np.ascontiguousarray(pixels),
        photometric=facts["photometric"],
        extrasamples=facts["extras"] or None,
        compression=facts["compression"],
        predictor=facts["predictor"],
        tile=facts["tile"],
        byteorder=facts["byteorder"],
        bigtiff=facts["bigtiff"],
        iccprofile=facts["profile"],
        colormap=colormap,
        metadata=None,
        **options,
    )
    return buffer.getvalue()


def expected(tiff: Tiff) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Return RGB (H, W, 3) and alpha in 0…1, as TIFF defines them, without the ICC profile."""
    samples = tiff.samples()
    colours = _COLOURS[tiff.photometric]
    if tiff.colormap is not None:
        looked_up = np.moveaxis(tiff.colormap[:, samples[:, :, 0]], 0, -1)
        return looked_up / 65535, None
    levels = _levels(samples)
    stored, alpha = levels[:, :, :colours], None
    for index, extra in enumerate(tiff.extras):
        if extra != "unspecified":
            alpha = levels[:, :, colours + index]
            break
    if tiff.photometric == "miniswhite":
        stored = 1 - stored
    if alpha is not None and "assocalpha" in tiff.extras:
        divisor = alpha[:, :, np.newaxis]
        stored = np.where(divisor > 0, stored / np.where(divisor > 0, divisor, 1), 0)
    rgb = stored = stored.clip(0, 1)
    if tiff.photometric == "separated":
        rgb = (1 - stored[:, :, :3]) * (1 - stored[:, :, 3:])
    return np.broadcast_to(rgb, (HEIGHT, WIDTH, 3)), None if alpha is None else alpha.clip(0, 1)


def _levels(samples: Samples) -> NDArray[np.float64]:
    if samples.dtype.kind == "f":
        return samples.astype(np.float64)
    return samples / float(np.iinfo(samples.dtype).max)
