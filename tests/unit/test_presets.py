"""Which fields of a model's profile a preset keeps."""

from worker.models.files.profile import Profile
from worker.pipeline.presets import PRESETS


def test_a_preset_keeps_the_fields_about_a_model_s_output() -> None:
    own = Profile(layout="nhwc", channels="bgr", sigmoid=True, output="mask", mean=0.1, size=320)
    fed = PRESETS["segmentation-custom"].profile_for(own)
    assert (fed.layout, fed.channels, fed.sigmoid, fed.output) == ("nhwc", "bgr", True, "mask")
    assert (fed.mean, fed.std, fed.divisor, fed.sides) == (0.485, 1.0, "max", None)
    assert PRESETS["segmentation-custom"].profile_for(Profile()).output == 0
    assert PRESETS["default"].profile_for(own) == own
