"""The advice about a map outside 0…1 fits what was found."""

import pytest

from worker.models.files.profile import Profile
from worker.pipeline.map_range import range_warning


def warning(low: float, high: float, *, channels: int = 1, **profile: object) -> str | None:
    return range_warning(
        low, high, profile=Profile.model_validate(profile), channels=channels, name="own"
    )


@pytest.mark.parametrize("ends", [(0, 1), (-0.04, 1.04), (0.2, 0.2), (0, 0), (1, 1), (-0.05, 1.05)])
def test_a_map_of_0_to_1_needs_no_advice(ends: tuple[float, float]) -> None:
    assert warning(*ends) is None


@pytest.mark.parametrize(
    ("ends", "advice", "absent"),
    [
        # 8 bits: full, dark, flat, and resized so that it overshoots.
        ((0, 255), "`range` with the values of background and foreground, such as [0, 255]", "sig"),
        ((3, 180), "such as [0, 255]", "sigmoid"),
        ((255, 255), "such as [0, 255]", "sigmoid"),
        ((0, 260), "such as [0, 255]", "sigmoid"),
        ((0, 100), "such as [0, 255]", "sigmoid"),
        ((0, 65535), "such as [0, 65535]", "sigmoid"),
        ((12, 1023), "such as [0, 65535]", "sigmoid"),
        ((0, 1e9), "`range` with the values of background and foreground", "such as"),
        # Without a negative value, small numbers may be either.
        ((0, 1.4), "such as [0, 255]; a model of logits needs `sigmoid`", "-1"),
        ((0, 7), "such as [0, 255]; a model of logits needs `sigmoid`", "-1"),
        ((-9, 8), "a model of logits needs `sigmoid` in its profile", "range"),
        ((-40, -2), "a model of logits needs `sigmoid` in its profile", "range"),
        ((-300, 200), "a model of logits needs `sigmoid` in its profile", "255"),
        (
            (-1, 1),
            "logits needs `sigmoid` in its profile; one of -1…1 needs `range`: [-1, 1]",
            "0,",
        ),
        ((-0.5, 0.9), "one of -1…1 needs `range`: [-1, 1]", "255"),
        ((-1, -0.1), "one of -1…1 needs `range`: [-1, 1]", "255"),
    ],
)
def test_the_advice_names_the_field_that_fits(
    ends: tuple[float, float], advice: str, absent: str
) -> None:
    text = warning(*ends)
    assert text is not None
    found, _, rest = text.partition("; ")
    assert found == f"own: expected a saliency map of 0…1, found {ends[0]:.3g}…{ends[1]:.3g}"
    assert advice in rest
    assert absent not in rest


def test_logits_of_several_channels_may_need_a_softmax() -> None:
    assert "needs `softmax`, or `sigmoid`, in" in (warning(-4, 5, channels=2, channel=1) or "")
    assert "softmax" not in (warning(-4, 5) or "")


@pytest.mark.parametrize(
    ("range_", "ends", "output"),
    [([0, 255], (0, 257), "0…6.55e+04"), ([-1, 1], (0, 128), "-1…255"), ([1, 0], (-7, 9), "-8…8")],
)
def test_a_range_that_does_not_fit(
    range_: list[float], ends: tuple[float, float], output: str
) -> None:
    text = warning(*ends, range=range_) or ""
    assert f"; the output has {output}, for which `range` in its profile is [" in text
