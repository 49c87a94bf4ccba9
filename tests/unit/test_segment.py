"""Segmentation on a device: shared batches, and images that are prepared on the host instead."""

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from producer.contract.options import Options
from tests.support.blocked import until_blocked_in
from tests.support.device_engine import DeviceEngine
from tests.support.device_models import Picture, mean_and, photographs
from tests.support.tiny_models import loaded, saved, value
from worker.errors import ModelInvalid
from worker.imaging.decode import open_image
from worker.models import batching
from worker.models.engines.budget import Budget
from worker.models.engines.cache import ModelCache
from worker.models.engines.onnx.engine import OnnxEngine
from worker.models.files.profile import Profile
from worker.models.files.store import ModelFile
from worker.models.inference import Inference
from worker.models.watchdog import Watchdog
from worker.observability.stopwatch import Stopwatch
from worker.pipeline.recipe import Recipe
from worker.pipeline.segment import LoadedModel, segment


def png(pixels: Picture) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def segmenting(
    engine: DeviceEngine | OnnxEngine, *, profile: Profile
) -> Callable[[Picture, Options], tuple[NDArray[Any], tuple[str, ...], dict[str, float]]]:
    """Return a function that segments an image on a stand-in for a GPU.

    It returns the mask, the warnings and the seconds of each stage.
    """
    file = ModelFile(name="own", path=Path("own"), sha256="own", profile=profile)
    budget = Budget(memory=2**40, gpu_memory=2**40, gpu_idle=3600)
    cache = ModelCache(lambda *_: engine, budget=budget)
    inference = Inference(cache=cache, watchdog=Watchdog(device_timeout=600))
    model = LoadedModel(
        file=file,
        engine=engine,
        inference=inference,
        input_size=(64, 64),
        fallback=None,
        warnings=(),
    )

    def run(
        rgb: Picture, options: Options
    ) -> tuple[NDArray[Any], tuple[str, ...], dict[str, float]]:
        watch = Stopwatch()
        picture = open_image(png(rgb), max_pixels=10**6).decode()
        mask, _, warnings = segment(
            picture, Recipe.resolve(options, file=file), model=model, watch=watch
        )
        return mask, warnings, watch.seconds()

    return run


def test_images_of_different_sizes_share_a_batch(tmp_path: Path) -> None:
    """A batch has as many images as `max_batch` allows."""
    engine = DeviceEngine(mean_and(tmp_path / "own.onnx", "Identity"))
    engine.max_batch = 2
    run = segmenting(engine, profile=Profile(mean=0))
    images = photographs()
    with ThreadPoolExecutor(len(images)) as pool:
        first = pool.submit(run, images[0], Options())
        engine.started.wait()
        rest = [pool.submit(run, rgb, Options()) for rgb in images[1:]]
        until_blocked_in(batching, len(images))
        engine.go.set()
        masks = [future.result() for future in (first, *rest)]
    assert engine.batches == [1, 2, 2]
    for rgb, (levels, warnings, stages) in zip(images, masks, strict=True):
        assert levels.shape == rgb.shape[:2]
        assert warnings == ()
        assert {"prepare", "model", "mask"} <= stages.keys()


def test_what_the_device_does_not_implement_runs_on_the_host(tmp_path: Path) -> None:
    engine = DeviceEngine(mean_and(tmp_path / "own.onnx", "Identity"))
    engine.go.set()
    run = segmenting(engine, profile=Profile(mean=0, divisor="max"))
    assert run(photographs()[0], Options())[0].shape == (200, 301)
    run = segmenting(engine, profile=Profile(mean=0))
    run(photographs()[0], Options(preset="isnet-segment"))
    run(photographs()[0], Options(preset="segmentation-custom"))
    assert engine.batches == []
    run(photographs()[0], Options())
    assert engine.batches == [1]


def test_a_map_on_a_device_outside_0_to_1_is_a_warning_and_nan_an_error(tmp_path: Path) -> None:
    engine = DeviceEngine(mean_and(tmp_path / "own.onnx", "Identity"))
    engine.go.set()
    _, (warning,), _ = segmenting(engine, profile=Profile(mean=0, std=0.1))(
        photographs()[0], Options()
    )
    assert "expected a saliency map of 0…1" in warning
    engine = DeviceEngine(mean_and(tmp_path / "log.onnx", "Sqrt"))
    engine.go.set()
    with pytest.raises(ModelInvalid, match="expected a saliency map of numbers, found NaN"):
        segmenting(engine, profile=Profile())(np.zeros((70, 80, 3), np.uint8), Options())


@pytest.mark.parametrize(
    ("element", "range_"),
    [
        (TensorProto.UINT8, (0, 255)),
        (TensorProto.INT8, (-127, 127)),
        (TensorProto.UINT16, (0, 65535)),
        (TensorProto.INT32, (0, 255)),
        (TensorProto.INT64, (0, 1000)),
        (TensorProto.FLOAT16, (0, 255)),
        (TensorProto.DOUBLE, (-1, 1)),
        (TensorProto.FLOAT, (255, 0)),
    ],
)
def test_a_map_of_any_range_and_type(
    element: int, range_: tuple[float, float], tmp_path: Path
) -> None:
    """Without `range` in the profile a warning names it; with it the mask is right."""
    low, high = range_
    weights = [
        numpy_helper.from_array(np.array(number, np.float32), name)
        for name, number in (("low", low), ("span", high - low))
    ]
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["mean", "span"], ["scaled"]),
        helper.make_node("Add", ["scaled", "low"], ["map"]),
        helper.make_node("Cast", ["map"], ["y"], to=element),
    ]
    axes = ("n", 3, 64, 64)
    path = saved(
        tmp_path / "own.onnx",
        nodes,
        [value("x", axes)],
        [value("y", ("n", 1, 64, 64), element)],
        weights,
    )
    rgb = photographs()[1]
    plain = Profile(mean=0, output=0)
    engine = loaded(path, profile=plain)
    _, (warning,), _ = segmenting(engine, profile=plain)(rgb, Options())
    assert "own: expected a saliency map of 0…1, found " in warning
    assert "`range`" in warning or (low < -1 and "`sigmoid`" in warning)
    fitting = plain.model_copy(update={"range": range_, "stretch": False})
    mask, warnings, _ = segmenting(engine, profile=fitting)(rgb, Options())
    assert warnings == ()
    assert np.abs(mask.astype(int) - rgb.mean(axis=2)).max() <= 2


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_have_a_sentence_of_their_own(number: float, tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.array(number, np.float32), "w")
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["mean", "w"], ["y"]),
    ]
    values = [value("x", ("n", 3, 64, 64))], [value("y", ("n", 1, 64, 64))]
    engine = loaded(saved(tmp_path / "own.onnx", nodes, *values, [weight]))
    for profile in (Profile(mean=0), Profile(mean=0, sigmoid=True), Profile(range=(0, 255))):
        with pytest.raises(ModelInvalid, match="found NaN or infinity in it; check that `mean`"):
            segmenting(engine, profile=profile)(photographs()[1], Options())
