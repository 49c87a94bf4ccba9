"""Say what a model's profile lacks when its saliency map is not 0…1."""

from typing import Final

from worker.models.files.profile import FULL_RANGE, Profile

_TOLERANCE: Final = 0.05
"""Saliency maps may lie this far outside 0…1, as half precision and resizing overshoot."""
_LARGEST_LOGIT: Final = 30.0
"""A map without a negative value whose maximum is above this is taken for levels, not logits."""


def range_warning(
    minimum: float, maximum: float, *, profile: Profile, channels: int, name: str
) -> str | None:
    """Return a sentence about a map outside 0…1, with the profile's field that fits; else None.

    `minimum` and `maximum` are the map's, after the profile's `sigmoid`, `softmax` and `range`.
    `channels` is the number of the output's channels. `name` is the model's.
    """
    if minimum >= -_TOLERANCE and maximum <= 1 + _TOLERANCE:
        return None
    found = f"{name}: expected a saliency map of 0…1, found {minimum:.3g}…{maximum:.3g}; "
    if profile.range != FULL_RANGE:
        low, high = profile.range
        least, most = sorted(low + value * (high - low) for value in (minimum, maximum))
        return (
            f"{found}the output has {least:.3g}…{most:.3g}, for which `range` in its profile is "
            f"{list(profile.range)}"
        )
    logits = "`sigmoid`" if channels == 1 else "`softmax`, or `sigmoid`,"
    if minimum < -_TOLERANCE:
        signed = minimum >= -1 - _TOLERANCE and maximum <= 1 + _TOLERANCE
        other = "; one of -1…1 needs `range`: [-1, 1]" if signed else ""
        return f"{found}a model of logits needs {logits} in its profile{other}"
    peak = next((peak for peak in (255, 65535) if maximum <= peak * (1 + _TOLERANCE)), None)
    example = "" if peak is None else f", such as [0, {peak}]"
    return (
        f"{found}its profile needs `range` with the values of background and foreground{example}"
        + ("" if maximum > _LARGEST_LOGIT else f"; a model of logits needs {logits}")
    )
