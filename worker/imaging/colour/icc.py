"""ICC profiles of RGB spaces, from primaries and a transfer function.

Source: ICC.1:2022 (version 4.4), https://www.color.org/specification/ICC.1-2022-05.pdf.
"""

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.imaging.colour.curves import Curve, Floats, Parametric, evaluate

Chromaticity = tuple[float, float]
"""CIE x and y."""

_SAMPLES: Final = 1024
"""Of a curve that is not parametric. PQ and HLG are off by at most 1/1,000 of white between two."""
_HEADER_BYTES: Final = 128
_MAX_TAGS: Final = 100
_VERSION: Final = 0x04400000
_CREATED: Final = (2026, 1, 1, 0, 0, 0)
"""Fixed, so that the same space gives the same bytes."""
D50: Final = (0.9642, 1.0, 0.8249)
"""White of the profile connection space, XYZ."""
_BRADFORD: Final = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_Tags = Sequence[tuple[bytes, bytes]]


class Primaries(NamedTuple):
    """Chromaticities of red, green, blue and white."""

    red: Chromaticity
    green: Chromaticity
    blue: Chromaticity
    white: Chromaticity


class ColourSpace(NamedTuple):
    """An RGB colour space."""

    name: str
    primaries: Primaries
    curve: Curve
    """Of all three channels."""
    code_points: tuple[int, int] | None = None
    """Primaries and transfer function by ITU-T H.273, where they have numbers."""


def write_profile(space: ColourSpace) -> bytes:
    """Return an ICC profile (version 4.4, display, matrix and curves) of an RGB colour space.

    The bytes depend on the argument only. A curve that is not parametric is stored as a table.
    Raise `ValueError` if the primaries span no colours, or are not numbers.
    """
    adaptation = _adaptation(_xyz(space.primaries.white))
    matrix = rgb_to_d50(space.primaries)
    curve = _curve(space.curve)
    tags = [(b"desc", _text(space.name)), (b"cprt", _text("No copyright, use freely"))]
    tags += [(b"wtpt", _xyz_type(np.array(D50)))]
    tags += [(b"%cXYZ" % name, _xyz_type(matrix[:, i])) for i, name in enumerate(b"rgb")]
    tags += [(b"%cTRC" % name, curve) for name in b"rgb"]
    tags += [(b"chad", b"sf32\0\0\0\0" + _fixed(adaptation.ravel()))]
    if space.code_points is not None:
        # Its last two bytes: the identity matrix, as these are RGB pixels, and full range.
        tags += [(b"cicp", b"cicp\0\0\0\0" + bytes((*space.code_points, 0, 1)))]
    return _file(tags)


def read_code_points(profile: bytes) -> tuple[int, int] | None:
    """Return primaries and transfer function by ITU-T H.273 where a profile has them."""
    tag = find_tag(profile, b"cicp")
    return None if tag is None or len(tag) < 10 else (tag[8], tag[9])


def find_tag(profile: bytes, wanted: bytes) -> bytes | None:
    """Return the content of a tag; None without it, or if it is empty."""
    if len(profile) < _HEADER_BYTES + 4:
        return None
    (count,) = struct.unpack_from(">I", profile, _HEADER_BYTES)
    table = profile[_HEADER_BYTES + 4 :][: 12 * min(count, _MAX_TAGS)]
    for name, start, length in struct.iter_unpack(">4sII", table[: len(table) // 12 * 12]):
        if name == wanted:
            return profile[start : start + length] or None
    return None


def rgb_to_d50(primaries: Primaries) -> Floats:
    """Return the (3, 3) matrix from linear RGB to XYZ of the profile connection space.

    Raise `ValueError` as `rgb_to_xyz` does.
    """
    return np.asarray(_adaptation(_xyz(primaries.white)) @ rgb_to_xyz(primaries))


def rgb_to_xyz(primaries: Primaries) -> Floats:
    """Return the (3, 3) matrix from linear RGB to XYZ with the white of the primaries (Y = 1).

    Raise `ValueError` if the primaries span no colours, or are not numbers.
    """
    columns = np.stack([_direction(point) for point in primaries[:3]], axis=1)
    # A smaller triangle is a line, by the precision of what files state.
    if not np.isfinite(columns).all() or abs(np.linalg.det(columns)) < 1e-4:
        raise ValueError(f"expected three primaries that span colours, found {primaries[:3]}")
    return np.asarray(columns * np.linalg.solve(columns, _xyz(primaries.white)))


def _direction(point: Chromaticity) -> Floats:
    return np.array([point[0], point[1], 1 - point[0] - point[1]])


def _xyz(white: Chromaticity) -> Floats:
    if not 0.01 <= white[1] <= 1 or not 0 <= white[0] <= 1:
        raise ValueError(f"expected the chromaticity of a white point, found {white}")
    return _direction(white) / white[1]


def _adaptation(white: Floats) -> Floats:
    """Return the matrix from XYZ with this white to XYZ with D50 as white, by Bradford."""
    gain = (_BRADFORD @ np.array(D50)) / (_BRADFORD @ white)
    return np.asarray(np.linalg.solve(_BRADFORD, np.diag(gain) @ _BRADFORD))


def _curve(curve: Curve) -> bytes:
    if isinstance(curve, Parametric):
        if curve == Parametric(curve.gamma):
            return b"para\0\0\0\0" + struct.pack(">HH", 0, 0) + _fixed([curve.gamma])
        return b"para\0\0\0\0" + struct.pack(">HH", 3, 0) + _fixed(curve)
    light = evaluate(curve, np.linspace(0, 1, _SAMPLES))
    levels: NDArray[np.uint16] = np.rint(light * 65535).astype(">u2")
    return b"curv\0\0\0\0" + struct.pack(">I", _SAMPLES) + levels.tobytes()


def _fixed(values: Sequence[float] | Floats) -> bytes:
    """Return s15Fixed16Numbers."""
    numbers = [round(float(value) * 65536) for value in values]
    if any(not -(2**31) <= number < 2**31 for number in numbers):
        raise ValueError("expected numbers of -32,768 to 32,767, found larger ones")
    return struct.pack(f">{len(numbers)}i", *numbers)


def _xyz_type(values: Floats) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(values)


def _text(words: str) -> bytes:
    """Return a multiLocalizedUnicodeType of one English record."""
    data = words.encode("utf-16-be")
    return b"mluc\0\0\0\0" + struct.pack(">II4sII", 1, 12, b"enUS", len(data), 28) + data


def _file(tags: _Tags) -> bytes:
    """Return header, table and data; tags with equal data share it."""
    position = _HEADER_BYTES + 4 + 12 * len(tags)
    table, body, places = b"", b"", dict[bytes, int]()
    for name, data in tags:
        if data not in places:
            places[data] = position + len(body)
            body += data + b"\0" * (-len(data) % 4)
        table += struct.pack(">4sII", name, places[data], len(data))
    head = struct.pack(">I4xI4s4s4s", position + len(body), _VERSION, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H4s28x", *_CREATED, b"acsp") + _fixed(D50)
    return head.ljust(_HEADER_BYTES, b"\0") + struct.pack(">I", len(tags)) + table + body
