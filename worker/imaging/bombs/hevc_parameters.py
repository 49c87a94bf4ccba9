"""The sequence parameter set of HEVC: the size of its pictures, and what it says of their colour.

Source: ITU-T H.265 (2024), 7.3.2.2, 7.3.3, 7.3.4, 7.3.7 and E.2.1.
"""

from typing import Final

from worker.imaging.bombs.bits import Bits

MAX_BYTES: Final = 2_048
"""More than a parameter set takes up to its colour, with scaling lists; the others have 100."""

_SEQUENCE: Final = 33
"""The type of a unit with a sequence parameter set."""
_PROFILE_BITS, _LEVEL_BITS, _FULL_COLOUR = 88, 8, 3
_MAX_SETS, _MAX_PICTURES = 64, 32
"""Limits of the standard for sets of reference pictures, and for the pictures in one."""
_OWN_ASPECT_RATIO: Final = 255


def stated_pixels(unit: bytes) -> int:
    """Return the pixels that a unit states; 0 if it is no sequence parameter set."""
    if not _is_parameter_set(unit):
        return 0
    bits, _ = _start(unit)
    return bits.exp_golomb() * bits.exp_golomb()


def is_of_first_layer(unit: bytes) -> bool:
    """Return whether a unit is a parameter set of the first layer, the picture itself."""
    return _is_parameter_set(unit) and not unit[0] & 1 and not unit[1] >> 3


def stated_colour(unit: bytes) -> tuple[int, int] | None:
    """Return primaries and transfer function of a parameter set of the first layer.

    They are code points of ITU-T H.273. Return None if it does not state them.
    """
    bits, layers = _start(unit)
    order_bits = _skip_sizes(bits, layers)
    if bits.read(1) and bits.read(1):
        _skip_scaling_lists(bits)
    bits.skip(2)
    if bits.read(1):  # Samples without compression.
        bits.skip(8)
        _skip_numbers(bits, 2)
        bits.skip(1)
    if not _skip_reference_pictures(bits, order_bits):
        return None
    bits.skip(2)
    return _usability(bits) if bits.read(1) else None


def _is_parameter_set(unit: bytes) -> bool:
    return len(unit) >= 3 and unit[0] >> 1 & 63 == _SEQUENCE


def _start(unit: bytes) -> tuple[Bits, int]:
    """Return the bits from the width on, and the number of temporal layers above the first."""
    # Bytes that keep start codes out of the data are not part of it.
    bits = Bits(unit[2:MAX_BYTES].replace(b"\0\0\3", b"\0\0"))
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
    return bits, layers


def _skip_sizes(bits: Bits, layers: int) -> int:
    """Pass over sizes of pictures and blocks; return the bits of a picture's order count."""
    _skip_numbers(bits, 2)
    if bits.read(1):  # A window of the coded picture.
        _skip_numbers(bits, 4)
    _skip_numbers(bits, 2)
    order_bits = bits.exp_golomb() + 4
    has_all_layers = bits.read(1)
    _skip_numbers(bits, 3 * (layers + 1 if has_all_layers else 1))
    _skip_numbers(bits, 6)
    return order_bits


def _skip_scaling_lists(bits: Bits) -> None:
    for size in range(4):
        for _ in range(2 if size == 3 else 6):
            if not bits.read(1):
                bits.exp_golomb()
                continue
            _skip_numbers(bits, (size > 1) + min(64, 16 << 2 * size))


def _skip_reference_pictures(bits: Bits, order_bits: int) -> bool:
    """Pass over the sets of reference pictures; return whether their numbers are allowed."""
    sets, pictures = bits.exp_golomb(), 0
    if sets > _MAX_SETS:
        return False
    for number in range(sets):
        if number and bits.read(1):  # Predicted from the set before.
            bits.skip(1)
            bits.exp_golomb()
            pictures = sum(bits.read(1) or bits.read(1) for _ in range(pictures + 1))
        else:
            pictures = bits.exp_golomb() + bits.exp_golomb()
            for _ in range(min(pictures, _MAX_PICTURES)):
                bits.exp_golomb()
                bits.skip(1)
        if pictures > _MAX_PICTURES:
            return False
    if bits.read(1):  # Long-term reference pictures.
        pictures = bits.exp_golomb()
        bits.skip(pictures * (order_bits + 1))
    return pictures <= _MAX_PICTURES


def _usability(bits: Bits) -> tuple[int, int] | None:
    """Return the code points in the video usability information, which begins here."""
    if bits.read(1) and bits.read(8) == _OWN_ASPECT_RATIO:
        bits.skip(32)
    if bits.read(1):  # Overscan.
        bits.skip(1)
    if not bits.read(1):
        return None
    bits.skip(4)
    return (bits.read(8), bits.read(8)) if bits.read(1) else None


def _skip_numbers(bits: Bits, count: int) -> None:
    for _ in range(count):
        bits.exp_golomb()
