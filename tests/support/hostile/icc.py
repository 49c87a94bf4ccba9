"""ICC profiles that cost much or lie, alone and in pictures."""

import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

import pillow_heif
from PIL import Image, TiffImagePlugin

from tests.support import icc_profiles as icc
from tests.support.hostile.file import DONE, HostileFile
from tests.support.hostile.png import GREY, chunk, png

pillow_heif.register_heif_opener()

_SPACES: Final = {"L": b"GRAY", "RGB": b"RGB ", "CMYK": b"CMYK"}


def process(inputs: int, outputs: int, steps: int) -> bytes:
    """Return an element of so many steps (`mpet`) that all share their bytes but the last."""
    curve = b"curf" + bytes(4) + struct.pack(">HH", 1, 0)
    curve += b"parf" + bytes(4) + struct.pack(">HHffff", 0, 0, 1.0001, 1, 0, 0)
    curves = b"cvst" + bytes(4) + struct.pack(">HH", inputs, inputs)
    curves += struct.pack(">II", 12 + 8 * inputs, len(curve)) * inputs + curve
    numbers = [1.0] * (inputs * outputs) + [0.0] * outputs
    matrix = b"matf" + bytes(4) + struct.pack(f">HH{len(numbers)}f", inputs, outputs, *numbers)
    start = 16 + 8 * (steps + 1)
    places = struct.pack(">II", start, len(curves)) * steps
    places += struct.pack(">II", start + len(curves), len(matrix))
    head = struct.pack(">HHI", inputs, outputs, steps + 1)
    return icc.element(b"mpet", head + places + curves + matrix)


def claim(inputs: int, outputs: int, grid: int, kind: bytes = b"mft2") -> bytes:
    """Return a table that announces a larger grid than it has."""
    return icc.element(kind, struct.pack(">4B", inputs, outputs, grid, 0) + bytes(600))


def grid_claim(inputs: int, sides: bytes, width: int = 2) -> bytes:
    """Return stages whose grid has more points than bytes."""
    head = struct.pack(">BBH5I", inputs, 3, 0, 0, 0, 0, 32, 0)
    body = sides.ljust(16, b"\0") + bytes((width, 0, 0, 0)) + bytes(300)
    return icc.element(b"mAB ", head + body)


@cache
def profiles() -> Mapping[str, tuple[str, bytes]]:
    """Return the mode of a fitting picture, and the profile, by name; each must be dropped."""
    return {name: (mode, data) for name, mode, data in _profiles()}


def _profiles() -> Iterator[tuple[str, str, bytes]]:
    for mode, inputs in (("L", 1), ("RGB", 3), ("CMYK", 4)):
        for tag in (b"D2B0", b"D2B1", b"D2B3", b"A2B0"):
            name = f"steps-{mode}-{tag.decode()}"
            yield name, mode, _with(mode, (tag, process(inputs, 3, 6_000)))
    yield "steps-back", "RGB", _with("RGB", (b"B2D0", process(3, 3, 6_000)))
    yield "step-one", "RGB", _with("RGB", (b"D2B0", process(3, 3, 1)))
    yield "steps-private", "RGB", _with("RGB", (b"PRIV", process(3, 3, 100)))
    yield "float-tag", "RGB", _with("RGB", (b"D2B0", icc.table(3, 3, 9)))
    many = [(b"t%03d" % number, icc.gamma(number / 16)) for number in range(90)]
    yield "tags", "RGB", icc.matrix("p3", icc.gamma(2.2), more=many)
    yield "overlap", "RGB", _overlapping()
    yield "grid-16", "CMYK", _with("CMYK", (b"A2B0", claim(16, 16, 255)))
    yield "grid-4", "CMYK", _with("CMYK", (b"A2B0", claim(4, 3, 255)))
    yield "grid-3-8-bits", "RGB", _with("RGB", (b"A2B0", claim(3, 3, 255, b"mft1")))
    yield "grid-stages", "CMYK", _with("CMYK", (b"A2B0", grid_claim(4, b"\xff" * 4)))
    yield "grid-stages-16", "CMYK", _with("CMYK", (b"A2B0", grid_claim(15, b"\xff" * 15)))
    yield "grid-width", "RGB", _with("RGB", (b"A2B0", grid_claim(3, b"\2\2\2", width=9)))
    for entries in (2**20, 2**31, 2**32 - 1):
        curve = icc.element(b"curv", struct.pack(">I", entries) + bytes(64))
        yield f"curve-{entries}", "RGB", icc.matrix("p3", curve)
        yield f"curve-grey-{entries}", "L", icc.grey(curve)
    yield "curve-long", "RGB", icc.matrix("adobe", icc.samples([0] * 65_537))
    yield "curve-short", "RGB", icc.matrix("p3", icc.samples([0] * 4_096)[:-2_000])
    yield "curve-kind", "RGB", icc.matrix("p3", icc.element(b"xurv", bytes(64)))
    yield "curve-kind-grey", "L", icc.grey(icc.element(b"urv\0", bytes(64)))
    yield "table-kind", "CMYK", _with("CMYK", (b"A2B0", icc.element(b"mBA ", bytes(64))))
    yield "curve-type", "RGB", icc.matrix("p3", icc.parametric(99, *range(5)))
    yield "curve-parameters", "RGB", icc.matrix("p3", icc.parametric(4, 2.2))
    flood = icc.languages(["flood"] * 60_000)
    yield "languages", "RGB", icc.matrix("p3", icc.gamma(2.2), more=[(b"dscm", flood)])
    text = struct.pack(">II", 200, 12) + (b"enUS" + struct.pack(">II", 10_000, 2_416)) * 200
    shared = icc.element(b"mluc", text + bytes(10_000))
    yield "languages-shared", "RGB", icc.matrix("p3", icc.gamma(2.2), more=[(b"dscm", shared)])
    for kind, size in ((b"dict", 16), (b"pseq", 24), (b"psid", 24), (b"clrt", 38), (b"ncl2", 38)):
        records = icc.element(kind, struct.pack(">II", 50_000, size) + bytes(50_000 * size))
        more = [(b"meta", records)]
        yield f"records-{kind.decode()}", "RGB", icc.matrix("p3", icc.gamma(2.2), more=more)
    numbers = [(b"chad", icc.element(b"sf32", bytes(4 * 200_000)))]
    yield "numbers", "RGB", icc.matrix("p3", icc.gamma(2.2), more=numbers)
    plain = icc.matrix("p3", icc.gamma(2.2))
    yield "size-larger", "RGB", struct.pack(">I", 2**31) + plain[4:]
    yield "size-smaller", "RGB", struct.pack(">I", 300) + plain[4:]
    yield "size-none", "RGB", bytes(4) + plain[4:]
    for count in (0x7FFFFFFF, 0xFFFFFFFF, 200):
        yield f"table-{count}", "RGB", plain[:128] + struct.pack(">I", count) + plain[132:]
    yield "tag-outside", "RGB", plain[:136] + struct.pack(">II", 2**31, 2**31) + plain[144:]
    yield "tag-in-header", "RGB", plain[:136] + struct.pack(">II", 0, 128) + plain[144:]
    yield "tag-twice", "RGB", plain[:132] + plain[144:148] + plain[136:]
    for kind in (b"link", b"abst", b"nmcl", b"cenc"):
        yield f"class-{kind.decode()}", "RGB", plain[:12] + kind + plain[16:]
    yield "connection", "RGB", plain[:20] + b"CMYK" + plain[24:]
    yield "space", "RGB", plain[:16] + b"15CL" + plain[20:]
    yield "version", "RGB", plain[:8] + b"\x63" + plain[9:]
    yield "header-only", "RGB", plain[:128]
    yield "signature", "RGB", plain[:36] + b"none" + plain[40:]
    yield "noise", "RGB", bytes(range(256)) * 8


def _with(mode: str, *more: tuple[bytes, bytes]) -> bytes:
    if mode == "L":
        tags = [*icc.named("grey"), (b"kTRC", icc.gamma(2.2)), *more]
        return icc.profile(b"GRAY", tags, version=0x04300000)
    if mode == "CMYK":
        tags = [*icc.named("press"), *more]
        return icc.profile(b"CMYK", tags, device_class=b"prtr", connection=b"Lab ")
    return icc.matrix("p3", icc.gamma(2.2), more=more)


def _overlapping() -> bytes:
    """Return a profile of fifty tables, each beginning four bytes after the one before."""
    whole = icc.matrix("p3", icc.gamma(2.2), more=[(b"t%03d" % n, b"") for n in range(40)])
    (count,) = struct.unpack_from(">I", whole, 128)
    start, end = 132 + 12 * count, len(whole) + 100_000
    table = whole[132 : 132 + 12 * (count - 40)]
    for number in range(40):
        offset = start + 4 * number
        table += b"t%03d" % number + struct.pack(">II", offset, end - offset)
    return struct.pack(">I", end) + whole[4:132] + table + whole[start:] + bytes(100_000)


def attacks() -> Iterator[HostileFile]:
    """Return a PNG of each profile, and the costliest in every format that holds profiles."""
    for name, (mode, data) in profiles().items():
        yield HostileFile(f"icc/{name}.{'tif' if mode == 'CMYK' else 'png'}", _in(mode, data), DONE)
    for mode in _SPACES:
        data = profiles()[f"steps-{mode}-D2B0"][1]
        yield HostileFile(f"icc/steps-{mode}.jpg", picture(mode, data, "JPEG"), DONE)
        yield HostileFile(f"icc/steps-{mode}.tiff", picture(mode, data, "TIFF"), DONE)
    data = profiles()["steps-RGB-D2B0"][1]
    for kind in ("WEBP", "AVIF", "HEIF"):
        yield HostileFile(f"icc/steps.{kind.lower()}", picture("RGB", data, kind), DONE)
    packed = chunk(b"iCCP", b"a\0\0" + zlib.compress(profiles()["steps-L-D2B0"][1], 9))
    yield HostileFile("icc/steps-16.png", png(9, 9, packed, depth=16, colour=GREY), DONE)
    yield HostileFile("icc/number.tif", _of_number(), DONE)


def picture(mode: str, profile: bytes, kind: str) -> bytes:
    """Return a small grey, RGB or CMYK picture with a profile."""
    held = io.BytesIO()
    Image.new(mode, (64, 48), 99 if mode == "L" else (99,) * len(mode)).save(
        held, kind, icc_profile=profile
    )
    return held.getvalue()


def _in(mode: str, profile: bytes) -> bytes:
    return picture(mode, profile, "TIFF" if mode == "CMYK" else "PNG")


def _of_number() -> bytes:
    """Return a TIFF whose profile is stored as a number."""
    tags: Any = TiffImagePlugin.ImageFileDirectory_v2()
    tags[34675] = 7
    tags.tagtype[34675] = 3
    held = io.BytesIO()
    Image.new("RGB", (9, 9)).save(held, "TIFF", tiffinfo=tags)
    return held.getvalue()
