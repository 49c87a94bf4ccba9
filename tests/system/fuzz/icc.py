"""Target: `worker.imaging.bombs.icc`, and the colour libraries with each profile that it accepts.

A profile that is dropped or applied is a pass, and so is one that a colour library refuses; any
other exception, a crash, or more than `SECONDS` of processor time is a finding.
"""

import io
import random
import struct
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import atheris

with atheris.instrument_imports(include=["worker"]):
    import numpy as np
    import pyvips
    from PIL import Image, ImageCms

    from worker.imaging.bombs.icc import usable_profile
    from worker.imaging.colour.srgb import srgb_to_profile
    from worker.imaging.decode import open_image
    from worker.imaging.encode import EncodeSettings, encode

from tests.support.hostile.png import GREY, RGB, chunk, png

SECONDS = 3
"""Processor time for all conversions of one profile; those of real profiles take 0.3."""

_MODES: Final = {b"GRAY": "L", b"RGB ": "RGB", b"CMYK": "CMYK", b"Lab ": "LAB"}
_SRGB: Final = ImageCms.createProfile("sRGB")
_NAMES: Final = b"A2B0 A2B1 B2A0 D2B0 B2D0 rTRC gTRC kTRC rXYZ chad wtpt bkpt gamt cicp".split()
_TYPES: Final = b"curv para mft1 mft2 mAB\x20 mBA\x20 mpet mluc XYZ\x20 sf32 ncl2 dict".split()
_HEADERS: Final = {
    8: (b"\2\x40\0\0", b"\4\x40\0\0", b"\5\0\0\0"),
    12: (b"mntr", b"scnr", b"prtr", b"spac", b"link", b"abst", b"nmcl"),
    16: tuple(_MODES),
    20: (b"XYZ ", b"Lab ", b"RGB "),
    64: (b"\0\0\0\0", b"\0\0\0\1", b"\0\0\0\3", b"\0\0\0\xff"),
}
"""Values by their offset: version, class, colour space, connection space, intent."""
_NUMBERS: Final = (0, 1, 2, 3, 4, 15, 16, 17, 255, 256, 4_096, 32_767, 65_535, 65_536, 2**31 - 1)


def fuzz_one(data: bytes) -> None:
    """Check a profile; if it passes, convert with it in both directions, and embed it."""
    profile = usable_profile(data, [])
    if profile is None:
        return
    started = time.process_time()
    mode = _MODES[profile[16:20]]
    _with_lcms(profile, mode)
    _with_libvips(profile, mode)
    _in_pictures(profile, mode)
    seconds = time.process_time() - started
    if seconds > SECONDS:
        raise AssertionError(f"expected at most {SECONDS} s of processor time, found {seconds:.1f}")


def _with_lcms(profile: bytes, mode: str) -> None:
    own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    noise = Image.effect_noise((32, 32), 80).convert("RGB")
    with suppress(ImageCms.PyCMSError):
        ImageCms.profileToProfile(noise, _SRGB, own, outputMode=mode)
    with suppress(ImageCms.PyCMSError):
        picture = Image.new(mode, (32, 32)) if mode == "LAB" else noise.convert(mode)
        ImageCms.profileToProfile(picture, own, _SRGB, outputMode="RGB")


def _with_libvips(profile: bytes, mode: str) -> None:
    names = {"L": "grey16", "RGB": "rgb16", "CMYK": "cmyk", "LAB": "lab"}
    pixels = np.arange(32 * 32 * len(mode), dtype=np.uint16).reshape(32, 32, -1) * 20
    image = pyvips.Image.new_from_array(pixels, interpretation=names[mode])
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    with suppress(pyvips.Error):
        image.icc_transform("srgb", depth=16).numpy()


def _in_pictures(profile: bytes, mode: str) -> None:
    """Decode pictures, convert a background colour, and write the profile into each format."""
    packed = chunk(b"iCCP", b"a\0\0" + zlib.compress(profile, 1))
    if mode in ("L", "RGB"):
        colour = GREY if mode == "L" else RGB
        files = [png(9, 9, packed, depth=depth, colour=colour) for depth in (8, 16)]
    else:
        held = io.BytesIO()
        Image.new(mode, (9, 9)).save(held, "TIFF", icc_profile=profile)
        files = [held.getvalue()]
    for data in files:
        for depth in (np.uint8, np.uint16):
            picture = open_image(data, max_pixels=1_000).decode(depth=depth)
            background = srgb_to_profile((255, 128, 0), picture.icc_profile, [])
            assert all(0 <= level <= 255 for level in background)
            settings = EncodeSettings(icc_profile=picture.icc_profile)
            for name in ("png", "tiff", "webp", "jpeg"):
                encode(picture.rgb, image_format=name, settings=settings)


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Return a profile with a few changes of its structure, or of its bytes."""
    choice = random.Random(seed)
    if len(data) < 144 or choice.random() < 0.2:
        return bytes(atheris.Mutate(data, max_size))
    changed = bytearray(data)
    for _ in range(choice.choice((1, 1, 2, 5))):
        choice.choice(_CHANGES)(changed, choice)
    if choice.random() < 0.9:
        struct.pack_into(">I", changed, 0, len(changed))
    return bytes(changed[:max_size])


def _header(profile: bytearray, choice: random.Random) -> None:
    offset = choice.choice(tuple(_HEADERS))
    profile[offset : offset + 4] = choice.choice(_HEADERS[offset])


def _entry(profile: bytearray, choice: random.Random) -> None:
    """Rename a tag, move it, or let it share the bytes of another."""
    entry, other = _entries(profile, choice)
    kind = choice.randrange(4)
    if kind == 0:
        profile[entry : entry + 4] = choice.choice(_NAMES)
    elif kind == 1:
        profile[entry + 4 : entry + 12] = profile[other + 4 : other + 12]
    else:
        _number(profile, entry + 4 * (kind - 1), choice)


def _body(profile: bytearray, choice: random.Random) -> None:
    """Change numbers within a tag."""
    entry, _ = _entries(profile, choice)
    offset, size = struct.unpack_from(">II", profile, entry + 4)
    reach = min(size, 64) if choice.random() < 0.8 else size
    _number(profile, offset + choice.randrange(max(reach, 1)) // 2 * 2, choice)


def _type(profile: bytearray, choice: random.Random) -> None:
    entry, _ = _entries(profile, choice)
    (offset,) = struct.unpack_from(">I", profile, entry + 4)
    if offset + 4 <= len(profile):
        profile[offset : offset + 4] = choice.choice(_TYPES)


def _addition(profile: bytearray, choice: random.Random) -> None:
    """Add a tag with the content of another, at the end."""
    entry, _ = _entries(profile, choice)
    offset, size = struct.unpack_from(">II", profile, entry + 4)
    body = profile[offset : offset + size]
    (count,) = struct.unpack_from(">I", profile, 128)
    for position in range(132, min(132 + 12 * min(count, 99), len(profile) - 11), 12):
        (place,) = struct.unpack_from(">I", profile, position + 4)
        struct.pack_into(">I", profile, position + 4, (place + 12) % 2**32)
    struct.pack_into(">I", profile, 128, (count + 1) % 2**32)
    place = len(profile) + 12
    profile[132:132] = choice.choice(_NAMES) + struct.pack(">II", place, len(body))
    profile.extend(body)


def _entries(profile: bytearray, choice: random.Random) -> tuple[int, int]:
    """Return the offsets of two entries of the table of tags."""
    count = min(max((len(profile) - 132) // 12, 1), struct.unpack_from(">I", profile, 128)[0], 64)
    first, second = (132 + 12 * choice.randrange(max(count, 1)) for _ in range(2))
    return first, second


def _number(profile: bytearray, offset: int, choice: random.Random) -> None:
    layout = choice.choice((">B", ">H", ">I"))
    width = struct.calcsize(layout)
    if offset + width <= len(profile):
        (old,) = struct.unpack_from(layout, profile, offset)
        new = choice.choice((choice.choice(_NUMBERS), old + 1, old - 1, old * 2, -1, 2**31 + old))
        struct.pack_into(layout, profile, offset, new % 256**width)


_CHANGES: Final[tuple[Callable[[bytearray, random.Random], None], ...]] = (
    *(_header, _entry, _body, _body, _body, _body, _type, _addition),
)


if __name__ == "__main__":
    atheris.Setup(sys.argv, fuzz_one, custom_mutator=mutate)
    atheris.Fuzz()
