"""PNGs of every colour type and bit depth, with and without a colour key, written by pypng."""

import io
import zlib
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import png
from numpy.typing import NDArray

from tests.support.hostile.png import chunk

WIDTH, HEIGHT = 19, 11
_BITS: Final = {"grey": (1, 2, 4, 8, 16), "grey-alpha": (8, 16), "rgb": (8, 16), "rgba": (8, 16)}
_BITS_OF_PALETTES: Final = (1, 2, 4, 8)
_CHANNELS: Final = {"grey": 1, "grey-alpha": 2, "rgb": 3, "rgba": 4, "palette": 1}


class Png(NamedTuple):
    """A PNG and what is in it."""

    kind: str
    bits: int
    interlaced: bool
    key: tuple[int, ...] | None
    """As stored: one sample, or three."""
    palette: list[tuple[int, ...]] | None
    profile: bytes | None
    data: bytes

    def __str__(self) -> str:
        profile = f"profile of {len(self.profile or b'')} bytes"
        return f"{self.kind}, {self.bits} bits, interlaced {self.interlaced}, {self.key}, {profile}"


def pngs(seed: int, count: int, profiles: dict[str, bytes]) -> Iterator[Png]:
    """Yield that many PNGs; `profiles` has an ICC profile for grey and one for rgb."""
    random = np.random.default_rng(seed)

    def choice(options: Any) -> Any:
        return options[random.integers(len(options))]

    for _ in range(count):
        kind = choice(tuple(_CHANNELS))
        bits = choice(_BITS.get(kind, _BITS_OF_PALETTES))
        top = 2**bits - 1
        pixels = random.integers(0, top, (HEIGHT, WIDTH, _CHANNELS[kind]), endpoint=True)
        key = palette = None
        if kind == "palette":
            entries = random.integers(0, 256, (2**bits, 4 if random.integers(2) else 3))
            palette = [tuple(int(level) for level in entry) for entry in entries]
        elif kind in ("grey", "rgb") and random.integers(3):
            key = tuple(int(level) for level in pixels[4, 5])
            if bits == 16:
                # Differs from the key in the low byte alone.
                pixels[6:8] = np.asarray(key) ^ 1
            pixels[2, 3:9] = key
        interlaced = bool(random.integers(2))
        profile = choice((None, profiles["grey" if kind.startswith("grey") else "rgb"]))
        yield Png(
            kind=kind,
            bits=bits,
            interlaced=interlaced,
            key=key,
            palette=palette,
            profile=profile,
            data=_write(pixels, kind, bits, interlaced, key, palette, profile),
        )


def _write(
    pixels: NDArray[Any],
    kind: str,
    bits: int,
    interlaced: bool,
    key: tuple[int, ...] | None,
    palette: list[tuple[int, ...]] | None,
    profile: bytes | None,
) -> bytes:
    writer = png.Writer(
        WIDTH,
        HEIGHT,
        greyscale=kind.startswith("grey"),
        alpha=kind in ("grey-alpha", "rgba"),
        bitdepth=bits,
        palette=palette,
        transparent=None if key is None else key[0] if len(key) == 1 else key,
        interlace=interlaced,
    )
    buffer = io.BytesIO()
    rows = pixels.reshape(HEIGHT, -1).tolist()
    if interlaced:
        writer.write_array(buffer, [level for row in rows for level in row])
    else:
        writer.write(buffer, rows)
    data = buffer.getvalue()
    if profile is None:
        return data
    # Behind IHDR.
    return data[:33] + chunk(b"iCCP", b"icc\0\0" + zlib.compress(profile)) + data[33:]


def expected(picture: Png) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Return RGB (H, W, 3) and alpha in 0…1 by what pypng reads, without the ICC profile."""
    _, _, rows, info = png.Reader(bytes=picture.data).read()
    stored = np.array([list(row) for row in rows]).reshape(HEIGHT, WIDTH, info["planes"])
    alpha = None
    if picture.palette is not None:
        entries = np.array(picture.palette)[stored[:, :, 0]] / 255
        return entries[:, :, :3], entries[:, :, 3] if entries.shape[2] == 4 else None
    levels = stored / (2**picture.bits - 1)
    colours = 1 if picture.kind.startswith("grey") else 3
    if info["alpha"]:
        alpha = levels[:, :, colours]
    elif picture.key is not None:
        alpha = 1.0 - (stored == np.array(picture.key)).all(axis=2)
    return np.broadcast_to(levels[:, :, :colours], (HEIGHT, WIDTH, 3)), alpha
