"""The options of execution providers, checked without a GPU."""

from pathlib import Path

import onnx
import onnxruntime
import pytest
from onnx import ModelProto, helper

from tests.support.tiny_models import value
from worker.errors import OptionConflict
from worker.models.engines import gpu
from worker.models.engines.onnx.load import can_use_tensorrt
from worker.models.engines.onnx.providers import TENSORRT, Options, providers, tensorrt_options
from worker.models.engines.onnx.recorded_facts import WEIGHT_TYPE_KEY
from worker.models.files.profile import Profile

FOLDER = Path("engines")
TENSORRT_OPTIONS = {"trt_profile_min_shapes": "x:1x3x8x8"}


def names(device: str, tensorrt: Options | None = None) -> list[str]:
    return [
        name.removesuffix("ExecutionProvider") for name, _ in providers(device, tensorrt=tensorrt)
    ]


def test_each_device_has_its_providers_and_the_cpu_last() -> None:
    assert names("cpu") == ["CPU"]
    assert names("cpu", TENSORRT_OPTIONS) == ["CPU"]
    assert names("cuda") == ["CUDA", "CPU"]
    assert names("cuda", TENSORRT_OPTIONS) == ["Tensorrt", "CUDA", "CPU"]


def test_options_are_strings_and_name_the_device() -> None:
    for name, options in providers("cuda", device_id=1, tensorrt=TENSORRT_OPTIONS):
        assert all(isinstance(item, str) for pair in options.items() for item in pair)
        assert options.get("device_id") == (None if name.startswith("CPU") else "1")


def test_tf32_is_disabled_only_for_exact_sessions() -> None:
    assert providers("cuda")[0][1]["use_tf32"] == "1"
    assert providers("cuda", exact=True)[0][1]["use_tf32"] == "0"


def test_a_tensorrt_engine_is_stored_with_its_shapes() -> None:
    options = tensorrt_options_of(graph("n", 3, 8, 8), Profile())
    assert options["trt_engine_cache_path"] == "engines"
    assert options["trt_fp16_enable"] == "1"
    assert providers("cuda", tensorrt=options)[0][1] == {"device_id": "0", **options}


def graph(*axes: int | str, weights: str = "float16") -> ModelProto:
    node = helper.make_node("Relu", ["x"], ["y"])
    made = helper.make_graph([node], "tiny", [value("x", axes)], [value("y", axes)])
    model = helper.make_model(made)
    helper.set_model_props(model, {WEIGHT_TYPE_KEY: weights})
    onnx.checker.check_model(model)
    return model


def tensorrt_options_of(model: ModelProto, profile: Profile) -> Options:
    return tensorrt_options(model, profile, name="own", max_batch=4, cache_folder=FOLDER)


@pytest.mark.parametrize(
    ("axes", "profile", "min_shape", "max_shape"),
    [
        (("n", 3, 32, 64), Profile(), "x:1x3x32x64", "x:4x3x32x64"),
        (("n", 3, "h", "w"), Profile(size=(64, 32)), "x:1x3x32x64", "x:4x3x32x64"),
        (("n", 3, "h", "w"), Profile(), "x:1x3x1024x1024", "x:4x3x1024x1024"),
        (("n", 32, 64, 3), Profile(layout="nhwc"), "x:1x32x64x3", "x:4x32x64x3"),
        # A graph with a fixed batch of one keeps it.
        ((1, 3, 32, 64), Profile(), "x:1x3x32x64", "x:1x3x32x64"),
    ],
)
def test_a_tensorrt_engine_covers_all_batch_sizes(
    axes: tuple[int | str, ...], profile: Profile, min_shape: str, max_shape: str
) -> None:
    options = tensorrt_options_of(graph(*axes), profile)
    assert options["trt_profile_min_shapes"] == min_shape
    assert options["trt_profile_opt_shapes"] == options["trt_profile_max_shapes"] == max_shape


def test_half_precision_follows_the_weights() -> None:
    options = tensorrt_options_of(graph(1, 3, 8, 8, weights="float32"), Profile())
    assert options["trt_fp16_enable"] == "0"


def test_a_profile_that_contradicts_its_graph_is_refused() -> None:
    with pytest.raises(OptionConflict, match="takes 64×32"):
        tensorrt_options_of(graph(1, 3, 32, 64), Profile(size=48))


@pytest.mark.skipif(
    TENSORRT in onnxruntime.get_available_providers(),
    reason="this build has TensorRT",
)
def test_the_log_says_why_tensorrt_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    assert not can_use_tensorrt()
    assert "is a build without TensorRT" in str(gpu.tensorrt_unavailable_reason())
    assert "CUTWORK_TENSORRT: onnxruntime" in caplog.text
