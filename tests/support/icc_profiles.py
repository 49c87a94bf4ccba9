"""ICC profiles made by hand, in the shapes that cameras, displays, scanners and printers write."""

import struct
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Final

import numpy as np
import pyvips
from PIL import ImageCms

Tags = Sequence[tuple[bytes, bytes]]

WHITE: Final = (0.9642, 1.0, 0.8249)
_PRIMARIES: Final[Mapping[str, Sequence[tuple[float, float, float]]]] = {
    "adobe": ((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446)),
    "eci": ((0.6503, 0.3203, 0.0), (0.1780, 0.6020, 0.0678), (0.1359, 0.0777, 0.7573)),
    "p3": ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841)),
    "prophoto": ((0.7977, 0.2880, 0.0), (0.1352, 0.7119, 0.0), (0.0313, 0.0001, 0.8249)),
}


def fixed(*values: float) -> bytes:
    """Return numbers as s15Fixed16Number."""
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def element(kind: bytes, body: bytes) -> bytes:
    return kind + bytes(4) + body


def xyz(*values: float) -> bytes:
    return element(b"XYZ ", fixed(*values))


def gamma(value: float) -> bytes:
    return element(b"curv", struct.pack(">IH", 1, round(value * 256)))


def samples(values: Sequence[int]) -> bytes:
    return element(b"curv", struct.pack(f">I{len(values)}H", len(values), *values))


def parametric(function: int, *parameters: float) -> bytes:
    return element(b"para", struct.pack(">HH", function, 0) + fixed(*parameters))


def description(text: str) -> bytes:
    data = text.encode() + b"\0"
    return element(b"desc", struct.pack(">I", len(data)) + data + bytes(78))


def languages(texts: Sequence[str]) -> bytes:
    """Return texts in as many languages, the type `mluc`."""
    encoded = [text.encode("utf-16-be") for text in texts]
    records, offset = b"", 16 + 12 * len(texts)
    for number, text in enumerate(encoded):
        language = bytes((97 + number // 26 % 26, 97 + number % 26))
        records += language + b"US" + struct.pack(">II", len(text), offset)
        offset += len(text)
    return element(b"mluc", struct.pack(">II", len(texts), 12) + records + b"".join(encoded))


def table(inputs: int, outputs: int, grid: int, *, width: int = 2, entries: int = 256) -> bytes:
    """Return a lookup table with a linear grid, the types `mft1` and `mft2`."""
    body = np.linspace(0, 65535, outputs * grid**inputs).astype(">u2")
    line = np.linspace(0, 65535, entries).astype(">u2")
    values = np.concatenate([np.tile(line, inputs), body, np.tile(line, outputs)])
    data = values.tobytes() if width == 2 else (values // 257).astype(np.uint8).tobytes()
    head = struct.pack(">4B", inputs, outputs, grid, 0) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    sizes = struct.pack(">HH", entries, entries) if width == 2 else b""
    return element(b"mft2" if width == 2 else b"mft1", head + sizes + data)


def stages(
    inputs: int, outputs: int, grid: int, *, width: int = 2, to_device: bool = False
) -> bytes:
    """Return curves, matrix, curves, grid and curves, the types `mAB ` and `mBA `."""
    curve = parametric(3, 2.4, 0.948, 0.052, 0.077, 0.04)
    inside, outside = (inputs, outputs) if to_device else (outputs, inputs)
    head = 32
    first = head
    matrix = first + inside * len(curve)
    second = matrix + 48
    cube = second + inside * len(curve)
    values = np.linspace(0, 255, outputs * grid**inputs).astype(np.uint8)
    if width == 2:
        values = np.repeat(values, 2)
    body = bytes((grid,) * inputs).ljust(16, b"\0") + bytes((width, 0, 0, 0)) + values.tobytes()
    body += bytes(-len(body) % 4)
    third = cube + len(body)
    offsets = struct.pack(">BBH5I", inputs, outputs, 0, first, matrix, second, cube, third)
    parts = curve * inside + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0) + curve * inside + body
    return element(b"mBA " if to_device else b"mAB ", offsets + parts + curve * outside)


def profile(
    space: bytes,
    tags: Tags,
    *,
    device_class: bytes = b"mntr",
    connection: bytes = b"XYZ ",
    version: int = 0x02400000,
) -> bytes:
    """Return a profile; tags with the same content share it, as in most real profiles."""
    offset, entries, body = 132 + 12 * len(tags), b"", b""
    places: dict[bytes, int] = {}
    for name, data in tags:
        if data not in places:
            places[data] = offset + len(body)
            body += data + bytes(-len(data) % 4)
        entries += name + struct.pack(">II", places[data], len(data))
    size = offset + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"", version, device_class, space, connection)
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + fixed(*WHITE)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + entries + body


def named(text: str) -> list[tuple[bytes, bytes]]:
    """Return the tags that every profile has."""
    rights = element(b"text", b"public domain\0")
    return [(b"desc", description(text)), (b"cprt", rights), (b"wtpt", xyz(*WHITE))]


def matrix(primaries: str, curve: bytes, *, more: Tags = ()) -> bytes:
    """Return a profile of three primaries and one curve."""
    tags = named(primaries)
    for name, column in zip((b"r", b"g", b"b"), _PRIMARIES[primaries], strict=True):
        tags += [(name + b"XYZ", xyz(*column)), (name + b"TRC", curve)]
    return profile(b"RGB ", [*tags, *more])


def grey(curve: bytes) -> bytes:
    return profile(b"GRAY", [*named("grey"), (b"kTRC", curve)])


def _lightness() -> bytes:
    levels = np.linspace(0, 1, 4096)
    return samples([round(65535 * level) for level in np.clip((levels + 0.16) / 1.16, 0, 1) ** 3])


def _display() -> bytes:
    texts = languages(["Color LCD"] * 40)
    ramp = struct.pack(">IHHH", 0, 3, 256, 2) + bytes(1536)
    more = [
        (b"dscm", texts),
        (b"chad", element(b"sf32", fixed(1, 0, 0, 0, 1, 0, 0, 0, 1))),
        (b"vcgt", element(b"vcgt", ramp)),
        (b"ndin", element(b"ndin", bytes(54))),
        (b"mmod", element(b"mmod", bytes(32))),
        (b"lumi", xyz(0, 320, 0)),
        (b"view", element(b"view", bytes(28))),
        (b"tech", element(b"sig ", b"AMD ")),
        (b"meta", element(b"dict", struct.pack(">II", 0, 16))),
    ]
    return matrix("p3", parametric(3, 2.4, 0.948, 0.052, 0.077, 0.04), more=more)


def _press(*, grid: int, width: int) -> bytes:
    """A printer of four inks with three intents, as FOGRA39."""
    there = table(4, 3, grid, width=width)
    back = [table(3, 4, 17, width=width, entries=256 + number) for number in range(3 * (width - 1))]
    tags = named("press")
    tags += [(b"A2B%d" % intent, there) for intent in range(3)]
    tags += [(b"B2A%d" % intent, data) for intent, data in enumerate(back)]
    tags.append((b"gamt", table(3, 1, 17, width=width)))
    return profile(b"CMYK", tags, device_class=b"prtr", connection=b"Lab ")


def _preference() -> bytes:
    tags = named("preference")
    tags += [(b"A2B%d" % intent, stages(3, 3, 9 + 8 * intent)) for intent in range(2)]
    tags += [(b"B2A%d" % intent, stages(3, 3, 17, to_device=True)) for intent in range(2)]
    return profile(b"RGB ", tags, version=0x04200000, connection=b"Lab ", device_class=b"spac")


def _scanner() -> bytes:
    tags = [*named("scanner"), (b"A2B0", table(3, 3, 33, entries=1024))]
    return profile(b"RGB ", tags, device_class=b"scnr", connection=b"Lab ")


_SHAPES: Final[Mapping[str, Callable[[], bytes]]] = {
    "sRGB of lcms": lambda: ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    "Lab of lcms": lambda: ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),
    "sRGB of libvips": lambda: _of_libvips("srgb"),
    "P3 of libvips": lambda: _of_libvips("p3"),
    "CMYK of libvips": lambda: _of_libvips("cmyk"),
    "Adobe RGB": lambda: matrix("adobe", gamma(2.2)),
    "ProPhoto": lambda: matrix("prophoto", gamma(1.8)),
    "ECI RGB": lambda: matrix("eci", _lightness()),
    "Display P3 of a display": _display,
    "grey of gamma 2.2": lambda: grey(gamma(2.2)),
    "grey of a dot gain": lambda: grey(_lightness()),
    "press of 16 bits": lambda: _press(grid=11, width=2),
    "press of 8 bits": lambda: _press(grid=17, width=1),
    "sRGB v4 preference": _preference,
    "scanner": _scanner,
}


@cache
def real_profiles() -> Mapping[str, bytes]:
    """Return profiles like those in the files of people, by name."""
    return {name: make() for name, make in _SHAPES.items()}


def _of_libvips(name: str) -> bytes:
    data: bytes = pyvips.Operation.call("profile_load", name)
    return data
