"""What a preset decides where the job does not."""

import pytest

from producer.contract.options import Options, Preset
from worker.models.files.profile import Profile
from worker.pipeline.presets import PRESETS
from worker.pipeline.recipe import Recipe


def test_a_preset_keeps_the_fields_about_a_model_s_output() -> None:
    own = Profile(layout="nhwc", channels="bgr", sigmoid=True, output="mask", mean=0.1, size=320)
    fed = PRESETS["segmentation-custom"].profile_for(own)
    assert (fed.layout, fed.channels, fed.sigmoid, fed.output) == ("nhwc", "bgr", True, "mask")
    assert (fed.mean, fed.std, fed.divisor, fed.sides) == (0.485, 1.0, "max", None)
    assert PRESETS["segmentation-custom"].profile_for(Profile()).output == 0
    assert PRESETS["segmentation-custom"].profile_for(Profile()).channel == 0
    assert PRESETS["isnet-segment"].profile_for(Profile()).channel is None
    own = Profile(channel=1, softmax=True, range=(1, 0))
    for preset in PRESETS.values():
        fed = preset.profile_for(own)
        assert (fed.channel, fed.softmax, fed.range) == (1, True, (1, 0))
    own = Profile(mean=0.1, output="mask")
    assert PRESETS["default"].profile_for(own) == own


@pytest.mark.parametrize(
    ("preset", "erode_size"),
    [("default", "1%"), ("isnet-segment", 10), ("segmentation-custom", 10)],
)
def test_only_the_default_preset_s_erosion_follows_the_picture_s_size(
    preset: Preset, erode_size: int | str
) -> None:
    assert Recipe.resolve(Options(preset=preset), file=None).erode_size == erode_size
    for given in (0, 10, 255, "0%", "2.5%"):
        options = Options(preset=preset, alpha_matting_erode_size=given)
        assert Recipe.resolve(options, file=None).erode_size == given
