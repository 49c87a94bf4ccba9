"""Which outputs have the same fingerprint."""

import pytest

from producer.contract.options import Options
from worker.models.files.profile import Profile
from worker.pipeline.fingerprint import fingerprint
from worker.pipeline.recipe import Recipe


def of(options: Options, *, want_image: bool) -> str:
    return fingerprint("e", Recipe.resolve(options, file=None, want_image=want_image))


def test_a_mask_alone_differs_from_that_of_a_cut_out() -> None:
    """It may be made of a picture that was decoded smaller."""
    assert of(Options(), want_image=False) != of(Options(), want_image=True)


@pytest.mark.parametrize(
    "options",
    [
        Options(preset="isnet-segment"),
        Options(preset="segmentation-custom"),
        Options(alpha_matting=True),
        Options(enabled=False),
    ],
)
def test_a_mask_alone_of_the_full_picture_is_the_same(options: Options) -> None:
    assert of(options, want_image=False) == of(options, want_image=True)


def test_the_batch_size_is_not_part_of_the_fingerprint() -> None:
    assert Profile(batch=2).facts() == Profile().facts() == {}


def test_how_the_map_is_read_is_part_of_the_fingerprint() -> None:
    assert Profile(channel=0).facts() == {}
    profile = Profile(channel=1, softmax=True, range=(0, 255))
    assert profile.facts() == {"channel": 1, "softmax": True, "range": [0, 255]}


def test_erosion_in_pixels_has_another_fingerprint_than_the_preset_s_own() -> None:
    """In `default` their bytes differ; the fingerprint does not look into the preset."""
    erosions = (None, 10, "1%", "2%")
    options = [Options(alpha_matting=True, alpha_matting_erode_size=size) for size in erosions]
    assert len({of(chosen, want_image=True) for chosen in options}) == len(erosions)
