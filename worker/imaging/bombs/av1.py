"""AV1: the pixels that a decoder makes room for, from the sequence and frame headers.

Source: https://aomediacodec.github.io/av1-spec/, 5.3, 5.5 and 5.9.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from worker.errors import DecompressionBomb
from worker.imaging.bombs.bits import Bits

_MAX_UNITS: Final = 1_000
"""Encoders write one unit for a frame, or one for a tile of it."""
_HEADER_BYTES: Final = 128
"""More than the parts of a header that are read take."""
_SEQUENCE, _FRAME_HEADER, _FRAME = 1, 3, 6
_KEY, _INTRA_ONLY, _SWITCH = 0, 2, 3
_HIGH, _PROFESSIONAL = 1, 2
"""Profiles of a sequence."""
_SELECT: Final = 2
"""A choice that is left to each frame."""


class _Sequence(NamedTuple):
    is_still: bool
    """Whether it has the short header of still pictures."""
    width_bits: int
    height_bits: int
    width: int
    height: int
    time_bits: int
    """Bits of the time at the beginning of a frame; 0 without one."""
    id_bits: int
    screen_content: int
    integer_vectors: int
    order_bits: int
    has_decoder_model: bool


def coded_pixels(data: bytes) -> int:
    """Return the pixels of the largest frame in a stream of open bitstream units; 0 without one.

    Raise `DecompressionBomb` for too many units.
    """
    pixels, sequence = 0, None
    for kind, body in _units(data):
        if kind == _SEQUENCE:
            sequence = _read_sequence(Bits(body))
            pixels = max(pixels, sequence.width * sequence.height)
        elif kind in (_FRAME_HEADER, _FRAME) and sequence is not None:
            pixels = max(pixels, _frame_pixels(Bits(body), sequence))
    return pixels


def stated_colour(data: bytes) -> tuple[int, int] | None:
    """Return the primaries and the transfer function in a stream, as code points of ITU-T H.273.

    Return None if its first sequence header does not state them. Raise as `coded_pixels` does.
    """
    for kind, body in _units(data):
        if kind == _SEQUENCE:
            bits = Bits(body)
            _read_sequence(bits)
            bits.skip(3)
            profile, is_deep = body[0] >> 5 if body else 0, bits.read(1)
            bits.skip((profile == _PROFESSIONAL and is_deep) + (profile != _HIGH))
            return (bits.read(8), bits.read(8)) if bits.read(1) else None
    return None


def _units(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the types of the units and the beginnings of their bodies."""
    position = 0
    for _ in range(_MAX_UNITS):
        if position >= len(data):
            return
        header = data[position]
        position += 2 if header & 4 else 1  # An extension.
        length = len(data) - position
        if header & 2:
            length, position = _leb128(data, position)
        yield header >> 3 & 15, data[position : position + min(length, _HEADER_BYTES)]
        position += length
    raise DecompressionBomb(f"AV1: expected at most {_MAX_UNITS:,} units in a picture, found more")


def _leb128(data: bytes, position: int) -> tuple[int, int]:
    """Return a number and the position behind it."""
    value = 0
    for count, byte in enumerate(data[position : position + 8]):
        value |= (byte & 127) << 7 * count
        if byte < 128:
            return value, position + count + 1
    return value, position + 8


def _read_sequence(bits: Bits) -> _Sequence:
    bits.skip(4)  # The profile, and whether it is a still picture.
    is_still = bool(bits.read(1))
    time_bits, has_model = 0, False
    if is_still:
        bits.skip(5)
    else:
        time_bits, has_model = _skip_operating_points(bits)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    width, height = bits.read(width_bits) + 1, bits.read(height_bits) + 1
    id_bits = 0
    if not is_still and bits.read(1):
        id_bits = bits.read(4) + 2 + bits.read(3) + 1
    bits.skip(3)
    screen_content, integer_vectors, order_bits = _SELECT, _SELECT, 0
    if not is_still:
        bits.skip(4)
        has_order = bits.read(1)
        bits.skip(2 * has_order)
        screen_content = _SELECT if bits.read(1) else bits.read(1)
        if screen_content:
            integer_vectors = _SELECT if bits.read(1) else bits.read(1)
        order_bits = bits.read(3) + 1 if has_order else 0
    return _Sequence(
        is_still=is_still,
        width_bits=width_bits,
        height_bits=height_bits,
        width=width,
        height=height,
        time_bits=time_bits,
        id_bits=id_bits,
        screen_content=screen_content,
        integer_vectors=integer_vectors,
        order_bits=order_bits,
        has_decoder_model=has_model,
    )


def _skip_operating_points(bits: Bits) -> tuple[int, bool]:
    """Return the bits of a frame's time, and whether there is a decoder model."""
    time_bits, delay_bits, has_model = 0, 0, False
    if bits.read(1):
        bits.skip(64)
        has_equal_intervals = bits.read(1)
        if has_equal_intervals:
            bits.exp_golomb()
        has_model = bool(bits.read(1))
        if has_model:
            delay_bits = bits.read(5) + 1
            bits.skip(37)
            time_bits = bits.read(5) + 1
            time_bits *= not has_equal_intervals
    has_delay = bits.read(1)
    for _ in range(bits.read(5) + 1):
        bits.skip(12)
        if bits.read(5) > 7:  # The level, from which on there is a tier.
            bits.skip(1)
        if has_model and bits.read(1):
            bits.skip(2 * delay_bits + 1)
        if has_delay and bits.read(1):
            bits.skip(4)
    return time_bits, has_model


def _frame_pixels(bits: Bits, sequence: _Sequence) -> int:
    """Return the pixels of a frame; 0 if they are those of the sequence."""
    if sequence.is_still or bits.read(1):  # The latter shows an earlier frame.
        return 0
    kind, is_shown = bits.read(2), bits.read(1)
    if is_shown:
        bits.skip(sequence.time_bits)
    else:
        bits.skip(1)
    is_resilient = kind == _SWITCH or (kind == _KEY and is_shown) or bool(bits.read(1))
    bits.skip(1)
    screen_content = sequence.screen_content
    if screen_content == _SELECT:
        screen_content = bits.read(1)
    if screen_content and sequence.integer_vectors == _SELECT:
        bits.skip(1)
    bits.skip(sequence.id_bits)
    if not (kind == _SWITCH or bits.read(1)):  # The latter: the frame has a size of its own.
        return 0
    largest = 1 << sequence.width_bits + sequence.height_bits
    if kind not in (_KEY, _INTRA_ONLY) or sequence.has_decoder_model:
        return largest
    bits.skip(sequence.order_bits)
    refreshes_all = kind == _KEY and is_shown
    if not refreshes_all and bits.read(8) != 255 and is_resilient and sequence.order_bits:
        return largest
    return (bits.read(sequence.width_bits) + 1) * (bits.read(sequence.height_bits) + 1)
