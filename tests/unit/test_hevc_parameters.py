"""The colour in a sequence parameter set of HEVC is found behind every optional part."""

from typing import Any, Final

import pytest

from worker.imaging.bombs.hevc import coded_colour
from worker.imaging.bombs.hevc_parameters import stated_colour, stated_pixels

P3: Final = (12, 13)


def number(value: int) -> str:
    """Return a number in unsigned Exp-Golomb code."""
    digits = f"{value + 1:b}"
    return "0" * (len(digits) - 1) + digits


def numbers(*values: int) -> str:
    return "".join(map(number, values))


SCALING_LISTS: Final = "".join(
    "0" + number(0)
    if matrix % 2
    else "1" + "".join(map(number, range((size > 1) + min(64, 16 << 2 * size))))
    for size in range(4)
    for matrix in range(2 if size == 3 else 6)
)
PREDICTED_SETS: Final = (
    number(3)
    # Two pictures before and one after.
    + numbers(2, 1, 0)
    + "1"
    + numbers(0)
    + "1"
    + numbers(1)
    + "0"
    # Predicted from those three: one dropped.
    + "1"
    + "0"
    + number(0)
    + "1"
    + "01"
    + "00"
    + "1"
    # Predicted from the three that are left.
    + "1"
    + "1"
    + number(4)
    + "1" * 4
)


def parameters(
    *,
    layer: int = 0,
    layers: tuple[tuple[int, int], ...] = (),
    chroma: str = number(1),
    window: str = "0",
    scaling: str = "0",
    uncompressed: str = "0",
    sets: str = number(0),
    long_term: str = "0",
    aspect: str = "0",
    overscan: str = "0",
    colour: tuple[int, int] | None = P3,
) -> bytes:
    """Return the unit of a picture of 64×48, with strings of bits for its optional parts."""
    above = len(layers)
    bits = "0000" + f"{above:03b}" + "1" + "01" * 48
    bits += "".join(f"{profile}{level}" for profile, level in layers)
    bits += "00" * (8 - above) if layers else ""
    bits += "".join("10" * 44 * profile + "01" * 4 * level for profile, level in layers)
    bits += number(0) + chroma + numbers(64, 48) + window + numbers(2, 2, 4)
    bits += "1" + numbers(1, 2, 3) * (above + 1) + numbers(0, 3, 0, 3, 1, 1)
    bits += scaling + "11" + uncompressed + sets + long_term + "11"
    described = "0" if colour is None else "1" + "".join(f"{point:08b}" for point in (*colour, 6))
    bits += "1" + aspect + overscan + "1" + "1011" + described + "0" * 9
    bits += "1" + "0" * (-(len(bits) + 1) % 8)
    body = int(bits, 2).to_bytes(len(bits) // 8, "big")
    for value in range(4):
        body = body.replace(bytes((0, 0, value)), bytes((0, 0, 3, value)))
    return bytes((33 << 1 | layer >> 5, (layer & 31) << 3 | 1)) + body


PARTS: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"layers": ((1, 1), (0, 1), (1, 0))},
    {"chroma": number(3) + "0"},
    {"window": "1" + numbers(0, 3, 0, 7)},
    {"scaling": "10"},
    {"scaling": "11" + SCALING_LISTS},
    {"uncompressed": "1" + "01110111" + numbers(0, 1) + "1"},
    {"sets": PREDICTED_SETS},
    {"long_term": "1" + number(2) + "101010101" * 2},
    {"aspect": "1" + f"{5:08b}"},
    {"aspect": "1" + f"{255:08b}" + "01" * 16},
    {"overscan": "11"},
    {
        "layers": ((1, 1),),
        "window": "1" + numbers(1, 1, 1, 1),
        "scaling": "11" + SCALING_LISTS,
        "sets": PREDICTED_SETS,
        "aspect": "1" + f"{255:08b}" + "10" * 16,
        "overscan": "10",
    },
)


@pytest.mark.parametrize("parts", PARTS, ids=lambda parts: "-".join(parts) or "plain")
def test_colour_is_found_behind(parts: dict[str, Any]) -> None:
    for points in (P3, (9, 16), (1, 1), (2, 2)):
        assert stated_colour(parameters(**parts, colour=points)) == points
    assert stated_colour(parameters(**parts, colour=None)) is None
    assert stated_pixels(parameters(**parts)) == 64 * 48


def test_the_first_layer_counts() -> None:
    other, picture = parameters(layer=1, colour=(9, 16)), parameters()
    units = b"".join(len(unit).to_bytes(4, "big") + unit for unit in (other, picture, other))
    assert coded_colour(units, b"") == P3
    assert coded_colour(b"", b"") is None


def test_sets_of_pictures_beyond_the_limits_end_the_search() -> None:
    assert stated_colour(parameters(sets=number(65))) is None
    assert stated_colour(parameters(sets=numbers(1, 17, 16))) is None
    assert stated_colour(parameters(long_term="1" + number(33))) is None


def test_every_truncation_and_flipped_bit_is_survived() -> None:
    unit = parameters(scaling="11" + SCALING_LISTS[:200], sets=PREDICTED_SETS)
    for place in range(3, len(unit)):
        stated_colour(unit[:place])
        for bit in (1, 128):
            stated_colour(unit[:place] + bytes((unit[place] ^ bit,)) + unit[place + 1 :])
