"""AVIF and HEIC whose coded data are larger than their boxes say, and whose items share data."""

import base64
import io
import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final

from PIL import Image

from tests.support.hostile.file import ANY, BOMB, DONE, HostileFile
from tests.support.hostile.heif import box, full_box

BLACK_24: Final = base64.b64decode(
    "EgAKChwy7t/z7TAQ0GoyqwMaZ/qK7/8WfgAALc/KLEuvYTx4v4nOK4FIK7olxnALIj99SZeWL7NasXvJGWbM20cz"
    "zQsmXMux/GAtz8osS69hPHi/ic4rgUgruiXGcAsiP31Jl5Yvs1qxe8kZZszbRzPNCyZcy7H8YC3PyixLr2E8eL+J"
    "ziuBSCu6JcZwCyI/fUmXli+zWrF7yRlmzNtHM80LJlzLsfxgRM/KLEuvYTx4v4nOK4FIK7olxnALIj99SbXA0LaH"
    "q8Rp3J4rR/8AflJHhzWCT7nViRrgQ1fdxuk8zn1905ml/plgVQm34CzPyixLr2E8eL+JziuBSCu6JcZwCyI/fUmX"
    "li+zWrF7yRlmzNtHM80LJlzLsf4sz8osS69hPHi/ic4rgUgruiXGcAsiP31Jl5Yvs1qxe8kZZszbRzPNCyZcy7H+"
    "LM/KLEuvYTx4v4nOK4FIK7olxnALIj99SZeWL7NasXvJGWbM20czzQsmXMux/s/KLEuvYTx4v4nOK4FIK7olxnAL"
    "Ij99SbXA0LaHq8Rp3J4rR/8AflJHhzWCT7nViRrgQ1fdxuk8zn1905ml/plgVQnQ"
)
"""A black picture of 6000×4000 pixels in AV1."""
DELIMITER: Final = b"\x12\0"
PICTURE, ALPHA = 1, 2
"""Items."""


def sequence(width: int, height: int) -> bytes:
    """Return the unit with the sequence header of a still picture in grey."""
    sizes = f"{width - 1:016b}{height - 1:016b}"
    # Profile 0, still, short header, level 0; 16 bits per side; grey, 8 bits.
    return unit(1, "000110000011111111" + sizes + "0000000101")


def frame_of_its_own_size(width: int, height: int) -> bytes:
    """Return a sequence header of 64×64, and a key frame that has another size."""
    sides = f"{width - 1:016b}{height - 1:016b}"
    small = f"{63:016b}{63:016b}"
    header = "000000000000" + "0" * 12 + "00000" + "11111111" + small + "0" + "000"
    # No tools, no order, no screen content.
    tools = "0000000" + "0000101"
    frame = "000101" + sides
    return unit(1, header + tools) + unit(6, frame)


def unit(kind: int, bits: str) -> bytes:
    """Return an open bitstream unit with a length."""
    bits += "1" + "0" * (-(len(bits) + 1) % 8)
    body = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return bytes((kind << 3 | 2, len(body))) + body


def avif(
    *items: bytes,
    size: tuple[int, int] = (64, 64),
    configuration: bytes = b"",
    extents: Sequence[tuple[int, int, int]] = (),
    settings: bytes = b"\x81\0\x1c\0",
    transforms: Sequence[bytes] = (),
    is_premultiplied: bool = False,
) -> bytes:
    """Return an AVIF of coded items, of which the second is the alpha of the first.

    All claim to have `size`. `extents` are more items, each with its number, offset and length
    within the coded data. `settings` are the four bytes of `av1C`, `transforms` are properties of
    the first item.
    """
    kinds = box(b"ftyp", b"avif", bytes(4), b"avifmif1miaf")
    coded = b"".join(items)
    starts = [sum(map(len, items[:number])) for number in range(len(items))]
    placed = [
        *((number + 1, starts[number], len(item)) for number, item in enumerate(items)),
        *extents,
    ]
    depths = [10 if settings[2] & 64 else 8] * (1 if settings[2] & 16 else 3)
    properties = (
        full_box(b"ispe", 0, struct.pack(">II", *size)),
        box(b"av1C", settings, configuration),
        full_box(b"pixi", 0, bytes((len(depths), *depths))),
        full_box(b"auxC", 0, b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0"),
        *transforms,
    )
    essential = bytes(0x85 + number for number in range(len(transforms)))
    numbers = [number for number, _, _ in placed]
    associated = b"".join(
        struct.pack(">HB", number, len(indices)) + indices
        for number in numbers
        for indices in [b"\1\x82\3\4" if number == ALPHA else b"\1\x82\3" + essential]
    )
    entries = b"".join(
        full_box(b"infe", 2, struct.pack(">HH", number, 0), b"av01\0") for number in numbers
    )
    of_alpha = [box(b"auxl", struct.pack(">HHH", ALPHA, 1, PICTURE))]
    if is_premultiplied:
        of_alpha.append(box(b"prem", struct.pack(">HHH", PICTURE, 1, ALPHA)))
    references = [full_box(b"iref", 0, *of_alpha)] if ALPHA in numbers else []

    def described(start: int) -> bytes:
        places = b"".join(
            struct.pack(">HHHII", number, 0, 1, start + offset, length)
            for number, offset, length in placed
        )
        return full_box(
            b"meta",
            0,
            full_box(b"hdlr", 0, bytes(4), b"pict", bytes(13)),
            full_box(b"pitm", 0, struct.pack(">H", PICTURE)),
            full_box(b"iloc", 0, b"\x44\0", struct.pack(">H", len(placed)), places),
            full_box(b"iinf", 0, struct.pack(">H", len(placed)), entries),
            *references,
            box(
                b"iprp",
                box(b"ipco", *properties),
                full_box(b"ipma", 0, struct.pack(">I", len(placed)), associated),
            ),
        )

    start = len(kinds) + len(described(0)) + 8
    return kinds + described(start) + box(b"mdat", coded)


def moving(width: int, height: int) -> bytes:
    """Return an AVIF of two frames with a larger sequence header before its first sample."""
    frames = [Image.new("L", (64, 48), level) for level in (0, 99)]
    data = saved(frames[0], "AVIF", save_all=True, append_images=frames[1:])
    place = data.index(b"stsz") + 16
    length = struct.unpack_from(">I", data, place)[0]
    start = struct.unpack_from(">I", data, data.index(b"stco") + 12)[0]
    header = DELIMITER + sequence(width, height)
    moved = data + header + data[start:]
    longer = moved[:place] + struct.pack(">I", len(header) + length) + moved[place + 4 :]
    at = data.index(b"stco") + 12
    return longer[:at] + struct.pack(">I", len(data)) + longer[at + 4 :]


def hevc(width: int, height: int) -> bytes:
    """Return a HEIC of 64×64 whose parameter set says another size."""
    data = saved(Image.new("RGB", (64, 64)), "HEIF", quality=10)
    start = data.index(b"\x42\x01\x01", data.index(b"hvcC"))
    length = int.from_bytes(data[start - 2 : start], "big")
    plain = data[start + 2 : start + length].replace(b"\0\0\3", b"\0\0")
    bits = "".join(f"{byte:08b}" for byte in plain)
    place = 4 + 3 + 1 + 96
    for _ in range(2):
        _, place = _exp_golomb(bits, place)
    end = place
    for _ in range(2):
        _, end = _exp_golomb(bits, end)
    sides = "".join(
        f"{side + 1:b}".zfill(2 * (side + 1).bit_length() - 1) for side in (width, height)
    )
    changed = bits[:place] + sides + bits[end:]
    changed += "0" * (-len(changed) % 8)
    body = int(changed, 2).to_bytes(len(changed) // 8, "big")
    escaped = body.replace(b"\0\0", b"\0\0\3")
    parameters = data[start : start + 2] + escaped
    return _with_unit(data, parameters)


def attacks() -> Iterator[HostileFile]:
    black = BLACK_24
    yield HostileFile("coded/real-24.avif", avif(black), DONE)
    for width, height in ((12_000, 12_000), (65_536, 65_536), (65_536, 2_000), (12_000, 8_000)):
        ends = BOMB if width * height > 105_000_000 else ANY
        name = f"{width}x{height}"
        header = DELIMITER + sequence(width, height)
        rest = black.partition(b"\x32\xab")[1] + black.partition(b"\x32\xab")[2]
        yield HostileFile(f"coded/sequence-{name}.avif", avif(header + rest), ends)
        yield HostileFile(f"coded/alpha-{name}.avif", avif(black, header + rest), ends)
        configured = avif(black, configuration=sequence(width, height))
        yield HostileFile(f"coded/configuration-{name}.avif", configured, ends)
        second = avif(black + sequence(width, height) + rest)
        yield HostileFile(f"coded/second-{name}.avif", second, ends)
        yield HostileFile(f"coded/moving-{name}.avif", moving(width, height), ends)
        own = DELIMITER + frame_of_its_own_size(width, height)
        yield HostileFile(f"coded/frame-{name}.avif", avif(own), ends)
        yield HostileFile(f"coded/parameters-{name}.heic", hevc(width, height), ends)
    yield HostileFile("coded/units.avif", avif(DELIMITER * 2_000 + black), BOMB)
    shared = [(number, number, 500) for number in range(3, 2_500)]
    yield HostileFile("coded/items.avif", avif(black, black, extents=shared), BOMB)
    twice = avif(black).replace(b"iprp", b"free", 1)
    yield HostileFile("coded/without-properties.avif", twice, ANY)
    two = bytes(2 * 2**20)
    for suffix, name in (("avif", "AVIF"), ("heic", "HEIF")):
        small = Image.new("RGB", (64, 48))
        data = saved(small, name, exif=b"Exif\0\0II*\0\x08\0\0\0" + two)
        yield HostileFile(f"coded/exif-2-mib.{suffix}", data, BOMB)
        data = saved(small, name, xmp=two)
        yield HostileFile(f"coded/xmp-2-mib.{suffix}", data, DONE)


def saved(image: Image.Image, image_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def _exp_golomb(bits: str, place: int) -> tuple[int, int]:
    """Return a number and the place behind it."""
    zeros = bits.index("1", place) - place
    end = place + 2 * zeros + 1
    return int(bits[place + zeros : end], 2) - 1, end


def _with_unit(data: bytes, parameters: bytes) -> bytes:
    """Return a HEIC of one item with a unit before those of its picture."""
    mdat = data.index(b"mdat") + 4
    coded = struct.pack(">I", len(parameters)) + parameters + data[mdat:]
    place = data.index(b"iloc")
    length = struct.pack(">I", len(data) - mdat)
    at = data.index(length, place)
    changed = data[:at] + struct.pack(">I", len(coded)) + data[at + 4 : mdat]
    return changed[: mdat - 8] + struct.pack(">I", 8 + len(coded)) + b"mdat" + coded
