"""HEVC: the pixels that a decoder makes room for, from the sequence parameter sets.

Source: ITU-T H.265, 7.3.1 and 7.3.2; ISO/IEC 14496-15, 8.3.
"""

from collections.abc import Iterator
from typing import Final

from worker.errors import DecompressionBomb
from worker.imaging.bombs.bits import Bits

_MAX_UNITS: Final = 1_000
"""A picture may have 600 slices, each a unit."""
_SEQUENCE: Final = 33
"""The type of a unit with a sequence parameter set."""
_HEADER_BYTES: Final = 256
"""More than the part of a parameter set that is read takes."""
_ARRAYS_OFFSET: Final = 22
"""Of the arrays of units in a configuration; the byte before has the size of a length."""
_PROFILE_BITS, _LEVEL_BITS, _FULL_COLOUR = 88, 8, 3


def configured_pixels(configuration: bytes) -> int:
    """Return the pixels of the largest parameter set in the body of an `hvcC` box."""
    position, units = _ARRAYS_OFFSET + 1, []
    for _ in range(configuration[_ARRAYS_OFFSET] if len(configuration) > _ARRAYS_OFFSET else 0):
        count = int.from_bytes(configuration[position + 1 : position + 3], "big")
        position += 3
        for _ in range(min(count, _MAX_UNITS)):
            length = int.from_bytes(configuration[position : position + 2], "big")
            units.append(configuration[position + 2 : position + 2 + length])
            position += 2 + length
            if position > len(configuration):
                break
    return max(map(_pixels, units), default=0)


def coded_pixels(data: bytes, configuration: bytes) -> int:
    """Return the same for the units of a picture; raise `DecompressionBomb` for too many."""
    size = (configuration[_ARRAYS_OFFSET - 1] & 3) + 1 if len(configuration) > 21 else 4
    return max(map(_pixels, _units(data, size)), default=0)


def _units(data: bytes, size: int) -> Iterator[bytes]:
    """Yield the beginnings of units, each behind a length of `size` bytes."""
    position = 0
    for _ in range(_MAX_UNITS):
        if position + size >= len(data):
            return
        length = int.from_bytes(data[position : position + size], "big")
        position += size
        yield data[position : position + min(length, _HEADER_BYTES)]
        position += length
    raise DecompressionBomb(f"HEVC: expected at most {_MAX_UNITS:,} units in a picture, found more")


def _pixels(unit: bytes) -> int:
    """Return the pixels that a unit states, 0 if it is no sequence parameter set."""
    if len(unit) < 3 or unit[0] >> 1 & 63 != _SEQUENCE:
        return 0
    # Bytes that keep start codes out of the data are not part of it.
    bits = Bits(unit[2:_HEADER_BYTES].replace(b"\0\0\3", b"\0\0"))
    bits.skip(4)
    layers = bits.read(3)
    bits.skip(1 + _PROFILE_BITS + _LEVEL_BITS)
    present = [(bits.read(1), bits.read(1)) for _ in range(layers)]
    if layers:
        bits.skip(2 * (8 - layers))
    for has_profile, has_level in present:
        bits.skip(has_profile * _PROFILE_BITS + has_level * _LEVEL_BITS)
    bits.exp_golomb()
    if bits.exp_golomb() == _FULL_COLOUR:
        bits.skip(1)
    return bits.exp_golomb() * bits.exp_golomb()
