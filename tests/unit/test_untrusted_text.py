"""Untrusted text is bounded, and a credential is removed wherever the text is cut."""

import pytest

from producer.contract.untrusted_text import bound, escape_unprintable
from producer.observability.redact import redact, redact_line

LIMIT = 2048
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
HUGE = 300_000


@pytest.mark.parametrize("text", ["", "found 5", "a" * LIMIT, "é" * (LIMIT // 2), "日" * 682])
def test_a_text_within_the_limit_stays_as_it_is(text: str) -> None:
    assert bound(text, LIMIT) == redact_line(text, LIMIT) == text


@pytest.mark.parametrize(
    "middle",
    [
        *("a" * 2048, "a" * 4096, "a" * 20_000, "a" * HUGE, "é" * HUGE, "日" * 700, "🪡" * HUGE),
        *("\x00" * 600, "\n" * HUGE, "\ud800" * HUGE, "\U000e0001" * HUGE, "\u202e" * 3000),
    ],
)
def test_a_longer_text_keeps_its_beginning_and_its_end(middle: str) -> None:
    text = f"expected a map, found {middle}; name it in the profile"
    for cut in (bound(text, LIMIT), redact_line(text, LIMIT)):
        assert len(cut.encode()) <= LIMIT
        assert cut.isprintable()
        assert cut.startswith("expected a map, found ")
        assert cut.endswith("; name it in the profile")
        assert "characters left out) …" in cut
        # Cutting again changes nothing.
        assert bound(cut, LIMIT) == cut


def test_the_number_of_characters_left_out_is_exact() -> None:
    for length in (LIMIT + 1, 2 * LIMIT, 2 * LIMIT + 1, 10 * LIMIT, HUGE):
        first, _, rest = bound("a" * length, LIMIT).partition("…")
        count, _, last = rest.removeprefix(" (").partition(" characters left out) …")
        assert len(first) + int(count.replace(",", "")) + len(last) == length


@pytest.mark.parametrize("length", [LIMIT, 2 * LIMIT, 15_000, HUGE])
def test_no_part_of_a_credential_is_left_beside_the_gap(length: int) -> None:
    """Wherever it stands, also where the text is cut."""
    pieces = [SECRET[start : start + 12] for start in range(len(SECRET) - 12)]
    ends = {0, length - len(SECRET), length // 2, *range(1450, 2100, 23), *range(6090, 6160, 5)}
    places = {at for at in ends | {length - at for at in ends} if 0 <= at <= length - len(SECRET)}
    for at in places:
        text = "x" * at + SECRET + "x" * (length - at - len(SECRET))
        cut = redact_line(text, LIMIT, secrets=[SECRET])
        assert len(cut) <= LIMIT
        assert not [piece for piece in pieces if piece in cut], at


@pytest.mark.parametrize(
    "text",
    [
        *("a." * HUGE, "a://" * HUGE, "//" * HUGE, "aws_" + "key" * HUGE, "aws_key" * HUGE),
        *("password" + " " * HUGE, "password" * HUGE, "b'" * HUGE, "a://" + "b" * HUGE),
        "password=" * HUGE,
    ],
)
def test_no_text_takes_quadratic_time(text: str) -> None:
    """Each of them would take hours."""
    redact(text[:HUGE])
    assert len(redact_line(text, LIMIT)) <= LIMIT


def test_escapes_are_those_of_python() -> None:
    assert escape_unprintable("a\nb\x1b[2K\ud800é") == r"a\nb\x1b[2K\ud800é"
