"""Inference: which images share a batch, which image gets an error, one batch per device.

There is no GPU here: the models run in ONNX Runtime on the CPU and claim to be on a GPU, which
alone decides whether images share a batch. Every failure is a real one.
"""

import io
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from producer.contract.options import Options
from tests.support.held_engine import (
    HeldEngine,
    grey,
    mean_and,
    opened,
    outcome,
    tiny,
    together,
)
from worker.errors import ModelInvalid
from worker.imaging.decode import open_image
from worker.observability.stopwatch import Stopwatch
from worker.pipeline.recipe import Recipe
from worker.pipeline.segment import LoadedModel, segment


def test_images_that_wait_share_a_batch_on_a_gpu(tmp_path: Path) -> None:
    engine = HeldEngine(mean_and("Abs", tmp_path / "abs.onnx"), "cuda:0", max_batch=3)
    _, inference, _ = opened(engine)
    maps = together(inference, engine, [grey(level) for level in range(6)])
    assert [float(map_.mean()) for map_ in maps] == [0, 1, 2, 3, 4, 5]
    assert {map_.shape for map_ in maps} == {(8, 8)}
    assert engine.batches == [1, 3, 2]


def test_a_cpu_runs_them_one_by_one(tmp_path: Path) -> None:
    engine = HeldEngine(mean_and("Abs", tmp_path / "abs.onnx"), "cpu")
    _, inference, _ = opened(engine)
    together(inference, engine, [grey(level) for level in range(4)])
    assert engine.batches == [1, 1, 1, 1]


def test_another_size_is_another_batch(tmp_path: Path) -> None:
    engine = HeldEngine(mean_and("Abs", tmp_path / "abs.onnx"), "cuda:0")
    _, inference, _ = opened(engine)
    sides = [8, 8, 16, 8, 16]
    maps = together(inference, engine, [grey(1, side) for side in sides])
    assert [map_.shape for map_ in maps] == [(side, side) for side in sides]
    assert len(engine.batches) == 3


def test_models_of_one_device_take_turns(tmp_path: Path) -> None:
    """The second model's image does not run at the same time as the first one's."""
    first = HeldEngine(mean_and("Abs", tmp_path / "abs.onnx"), "cuda:0")
    second = HeldEngine(mean_and("Neg", tmp_path / "neg.onnx"), "cuda:0")
    other = HeldEngine(mean_and("Exp", tmp_path / "exp.onnx"), "cpu")
    _, inference, _ = opened(first, second, other)
    second.go.set()
    other.go.set()
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(inference.infer, first, grey(1), name="first")]
        while not first.batches:
            time.sleep(0.01)
        runs.append(pool.submit(inference.infer, second, grey(1), name="second"))
        assert inference.infer(other, grey(0), name="other").result.mean() == 1
        assert second.batches == []
        first.go.set()
        assert [run.result().result.mean() for run in runs] == [1, -1]


def test_an_image_that_the_model_refuses_fails_alone(tmp_path: Path) -> None:
    """The image's pixels index a table past its end, so that the runtime's error is real."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["top"], keepdims=0),
        helper.make_node("Cast", ["top"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["found"]),
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[1], keepdims=1),
        helper.make_node("Add", ["m", "found"], ["y"]),
    ]
    table = numpy_helper.from_array(np.zeros(4, np.float32), "table")
    engine = HeldEngine(tiny(tmp_path / "own.onnx", nodes, table), "cuda:0")
    _, inference, _ = opened(engine)
    maps = together(inference, engine, [grey(level) for level in (1, 2, 3, 9, 1, 2)])
    assert isinstance(maps.pop(3), ModelInvalid)
    assert [float(map_.mean()) for map_ in maps] == [1, 2, 3, 1, 2]
    assert engine.batches[:2] == [1, 5]


def test_an_image_whose_map_is_nan_fails_alone(tmp_path: Path) -> None:
    """The square root of pixels below the profile's mean is NaN."""
    engine = HeldEngine(mean_and("Sqrt", tmp_path / "sqrt.onnx"), "cuda:0")
    _, inference, (file,) = opened(engine)
    engine.go.set()
    model = LoadedModel(
        file=file, engine=engine, inference=inference, input_size=(8, 8), fallback=None, warnings=()
    )

    recipe = Recipe.resolve(Options(), file=file)

    def mask_of(level: int) -> Any:
        buffer = io.BytesIO()
        Image.new("RGB", (9, 9), (level, level, level)).save(buffer, "PNG")
        picture = open_image(buffer.getvalue(), max_pixels=100).decode()
        return outcome(lambda: segment(picture, recipe, model=model, watch=Stopwatch())[0])

    with ThreadPoolExecutor(4) as pool:
        masks = list(pool.map(mask_of, [200, 10, 255, 250]))
    assert "expected a saliency map of numbers, found NaN" in str(masks.pop(1))
    assert [mask.shape for mask in masks] == [(9, 9)] * 3
