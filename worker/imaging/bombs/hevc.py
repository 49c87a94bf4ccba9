"""HEVC: what the sequence parameter sets in a picture and in its configuration state.

Source: ITU-T H.265, 7.3.1; ISO/IEC 14496-15, 8.3.
"""

from collections.abc import Iterator
from typing import Final

from worker.errors import DecompressionBomb
from worker.imaging.bombs.hevc_parameters import (
    MAX_BYTES,
    is_of_first_layer,
    stated_colour,
    stated_pixels,
)

_MAX_UNITS: Final = 1_000
"""A picture may have 600 slices, each a unit."""
_ARRAYS_OFFSET: Final = 22
"""Of the arrays of units in a configuration; the byte before has the size of a length."""


def configured_pixels(configuration: bytes) -> int:
    """Return the pixels of the largest parameter set in the body of an `hvcC` box."""
    return max(map(stated_pixels, _configured_units(configuration)), default=0)


def coded_pixels(data: bytes, configuration: bytes) -> int:
    """Return the same for the units of a picture; raise `DecompressionBomb` for too many."""
    return max(map(stated_pixels, _units(data, _length_bytes(configuration))), default=0)


def coded_colour(data: bytes, configuration: bytes) -> tuple[int, int] | None:
    """Return the primaries and the transfer function as code points of ITU-T H.273.

    `data` is the beginning of a picture and `configuration` the body of its `hvcC` box. Return None
    if they do not state them. Raise as `coded_pixels` does.
    """
    units = (*_configured_units(configuration), *_units(data, _length_bytes(configuration)))
    first = next(filter(is_of_first_layer, units), None)
    return None if first is None else stated_colour(first)


def _configured_units(configuration: bytes) -> list[bytes]:
    position, units = _ARRAYS_OFFSET + 1, list[bytes]()
    for _ in range(configuration[_ARRAYS_OFFSET] if len(configuration) > _ARRAYS_OFFSET else 0):
        count = int.from_bytes(configuration[position + 1 : position + 3], "big")
        position += 3
        for _ in range(min(count, _MAX_UNITS)):
            length = int.from_bytes(configuration[position : position + 2], "big")
            units.append(configuration[position + 2 : position + 2 + length])
            position += 2 + length
            if position > len(configuration):
                break
    return units


def _length_bytes(configuration: bytes) -> int:
    """Return the bytes of the length before each unit of a picture."""
    return (configuration[_ARRAYS_OFFSET - 1] & 3) + 1 if len(configuration) > 21 else 4


def _units(data: bytes, size: int) -> Iterator[bytes]:
    """Yield the beginnings of units, each after a length of `size` bytes."""
    position = 0
    for _ in range(_MAX_UNITS):
        if position + size >= len(data):
            return
        length = int.from_bytes(data[position : position + size], "big")
        position += size
        yield data[position : position + min(length, MAX_BYTES)]
        position += length
    raise DecompressionBomb(f"HEVC: expected at most {_MAX_UNITS:,} units in a picture, found more")
