"""What a file states about its colours, in any container, as one ICC profile."""

from worker.imaging.bombs.icc import usable_profile
from worker.imaging.colour.code_points import profile_of
from worker.imaging.colour.nclx import nclx_code_points
from worker.imaging.colour.png import StatedColour, png_colour


def stated_colour(
    data: bytes, container: str, embedded: object, warnings: list[str]
) -> StatedColour:
    """Return the colour that a file states, by an ICC profile or otherwise.

    `container` is the format of the file, `embedded` what a reader found as its profile. An
    embedded profile is safe to use, but may be for other pixels than those of the file; one that
    was made here is for RGB or grey. What cannot be read, and what cannot be expressed, adds a
    sentence to `warnings`.
    """
    profile = usable_profile(embedded, warnings)
    if container == "PNG":
        return png_colour(data, profile, warnings)
    if profile is None and container in ("AVIF", "HEIF"):
        # The decoders widen a narrow range themselves.
        points = nclx_code_points(data)
        return StatedColour(None if points is None else profile_of(points, warnings))
    return StatedColour(profile)
