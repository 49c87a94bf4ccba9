"""Images through loaded models: who shares a batch, whose error is whose, and memory that is short.

There is no GPU here: the models run in ONNX Runtime on the CPU, and are told to say that they lie
on one, which is all that decides whether images share a batch. What fails, fails for real.
"""

import io
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper
from PIL import Image

from producer.contract.options import Options
from tests.support.short_memory import MIB, in_a_process, leave
from tests.support.tiny_models import loaded, saved, value
from worker.errors import DeviceOutOfMemory, ModelInvalid
from worker.imaging.decode import open_image
from worker.models.engines.budget import Budget
from worker.models.engines.cache import ModelCache
from worker.models.engines.engine import Engine, EngineFacts
from worker.models.files.profile import Profile
from worker.models.files.store import ModelFile
from worker.models.inference import Inference
from worker.models.watchdog import Watchdog
from worker.observability.stopwatch import Stopwatch
from worker.pipeline.segment import LoadedModel, segment

Images = NDArray[np.float32]
BUDGET = Budget(memory=2**40, gpu_memory=2**40, gpu_idle=3600)


class Noted:
    """An engine with its batches noted; the first one is held back until told."""

    def __init__(self, engine: Engine, device: str, *, most: int = 8) -> None:
        self.most = most
        self.facts: EngineFacts = replace(engine.facts, device=device)
        self.input_size, self.bytes = engine.input_size, engine.bytes
        self.pictures = engine.pictures
        self.batches: list[int] = []
        self.go = threading.Event()
        self.closed = False
        self._engine = engine

    def infer(self, batch: Images) -> Images:
        self.batches.append(len(batch))
        self.go.wait()
        return self._engine.infer(batch)

    def close(self) -> None:
        self.closed = True
        self._engine.close()


def tiny(path: Path, nodes: Sequence[NodeProto], *weights: TensorProto) -> Engine:
    """A model of any number of images of any size."""
    return loaded(
        saved(
            path,
            nodes,
            [value("x", ("n", 3, "h", "w"))],
            [value("y", ("n", 1, "h", "w"))],
            weights,
        )
    )


def mean_and(operator: str, path: Path) -> Engine:
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[1], keepdims=1),
        helper.make_node(operator, ["m"], ["y"]),
    ]
    return tiny(path, nodes)


def opened(*engines: Noted) -> tuple[ModelCache, Inference, list[ModelFile]]:
    """A cache and the inference of it; the models are named by their number."""
    files = [
        ModelFile(name=str(number), path=Path(str(number)), sha256=str(number), profile=Profile())
        for number in range(len(engines))
    ]
    cache = ModelCache(lambda file, _: engines[int(file.name)], budget=BUDGET)
    dog = Watchdog(timeout=600)
    return cache, Inference(cache=cache, watchdog=dog), files


def outcome(run: Callable[[], Any]) -> Any:
    try:
        return run()
    except (ModelInvalid, DeviceOutOfMemory) as error:
        return error


def together(
    inference: Inference, engine: Noted, images: Sequence[Images], *, squeeze: int | None = None
) -> list[Any]:
    """What becomes of images that are there at once: the first runs, the others wait for it.

    `squeeze`: bytes that the process may take from then on, its threads being there already.
    """
    arrived = threading.Barrier(len(images) + 1)

    def one(image: Images) -> Any:
        arrived.wait()
        return outcome(lambda: inference.run(engine, image, name="own").result)

    with ThreadPoolExecutor(len(images)) as pool:
        found = [pool.submit(one, image) for image in images]
        arrived.wait()
        time.sleep(0.5)  # From there into the queue.
        if squeeze is not None:
            leave(squeeze)
        engine.go.set()
        return [future.result() for future in found]


def grey(level: float, side: int = 8) -> Images:
    return np.full((1, 3, side, side), level, np.float32)


def test_images_that_wait_share_a_batch_on_a_gpu(tmp_path: Path) -> None:
    engine = Noted(mean_and("Abs", tmp_path / "abs.onnx"), "cuda:0", most=3)
    _, inference, _ = opened(engine)
    found = together(inference, engine, [grey(level) for level in range(6)])
    assert [float(map_.mean()) for map_ in found] == [0, 1, 2, 3, 4, 5]
    assert {map_.shape for map_ in found} == {(8, 8)}
    assert engine.batches == [1, 3, 2]


def test_a_cpu_runs_them_one_by_one(tmp_path: Path) -> None:
    engine = Noted(mean_and("Abs", tmp_path / "abs.onnx"), "cpu")
    _, inference, _ = opened(engine)
    together(inference, engine, [grey(level) for level in range(4)])
    assert engine.batches == [1, 1, 1, 1]


def test_another_size_is_another_batch(tmp_path: Path) -> None:
    engine = Noted(mean_and("Abs", tmp_path / "abs.onnx"), "cuda:0")
    _, inference, _ = opened(engine)
    sides = [8, 8, 16, 8, 16]
    found = together(inference, engine, [grey(1, side) for side in sides])
    assert [map_.shape for map_ in found] == [(side, side) for side in sides]
    assert len(engine.batches) == 3


def test_models_of_one_device_take_turns(tmp_path: Path) -> None:
    """The second model's image does not run beside the first one's."""
    first = Noted(mean_and("Abs", tmp_path / "abs.onnx"), "cuda:0")
    second = Noted(mean_and("Neg", tmp_path / "neg.onnx"), "cuda:0")
    other = Noted(mean_and("Exp", tmp_path / "exp.onnx"), "cpu")
    _, inference, _ = opened(first, second, other)
    second.go.set()
    other.go.set()
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(inference.run, first, grey(1), name="first")]
        while not first.batches:
            time.sleep(0.01)
        runs.append(pool.submit(inference.run, second, grey(1), name="second"))
        assert inference.run(other, grey(0), name="other").result.mean() == 1
        assert second.batches == []
        first.go.set()
        assert [run.result().result.mean() for run in runs] == [1, -1]


def test_an_image_the_model_refuses_fails_alone(tmp_path: Path) -> None:
    """A look-up past its table, as the image's own pixels want it: the runtime's error is real."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["top"], keepdims=0),
        helper.make_node("Cast", ["top"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["found"]),
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[1], keepdims=1),
        helper.make_node("Add", ["m", "found"], ["y"]),
    ]
    table = numpy_helper.from_array(np.zeros(4, np.float32), "table")
    engine = Noted(tiny(tmp_path / "own.onnx", nodes, table), "cuda:0")
    _, inference, _ = opened(engine)
    found = together(inference, engine, [grey(level) for level in (1, 2, 3, 9, 1, 2)])
    assert isinstance(found.pop(3), ModelInvalid)
    assert [float(map_.mean()) for map_ in found] == [1, 2, 3, 1, 2]
    assert engine.batches[:2] == [1, 5]


def test_a_picture_without_a_map_fails_alone(tmp_path: Path) -> None:
    """The root of what is below the profile's mean is no number."""
    engine = Noted(mean_and("Sqrt", tmp_path / "sqrt.onnx"), "cuda:0")
    _, inference, (file,) = opened(engine)
    engine.go.set()
    model = LoadedModel(
        file=file, engine=engine, inference=inference, size=(8, 8), fallback=None, warnings=()
    )

    def mask_of(level: int) -> Any:
        buffer = io.BytesIO()
        Image.new("RGB", (9, 9), (level, level, level)).save(buffer, "PNG")
        picture = open_image(buffer.getvalue(), max_pixels=100).decode()
        return outcome(lambda: segment(picture, Options(), model=model, watch=Stopwatch())[0])

    with ThreadPoolExecutor(4) as pool:
        masks = list(pool.map(mask_of, [200, 10, 255, 250]))
    assert "expected a map of numbers, found NaN" in str(masks.pop(1))
    assert [mask.shape for mask in masks] == [(9, 9)] * 3


def wide(path: Path) -> Engine:
    """A model that takes 48 MiB for an image of 256×256, and 768 MiB for one of 1024×1024."""
    nodes = [
        helper.make_node("Tile", ["x", "times"], ["many"]),
        helper.make_node("Exp", ["many"], ["powers"]),
        helper.make_node("ReduceMean", ["powers"], ["y"], axes=[1], keepdims=1),
    ]
    return tiny(path, nodes, numpy_helper.from_array(np.array([1, 32, 1, 1]), "times"))


def squeezed(folder: Path, side: int, room: int) -> tuple[list[Any], list[int], bool, Any]:
    """Five images in `room` bytes: results, batches, whether an idle model went, the one after."""
    engine, idle = (Noted(wide(folder / f"{name}.onnx"), "cuda:0") for name in "ab")
    cache, inference, (own, other) = opened(engine, idle)
    with cache.use(other, "cuda", keep=True):
        pass
    images = [grey(level, side) for level in range(5)]
    with cache.use(own, "cuda"):
        found = together(inference, engine, images, squeeze=room)
        batches = list(engine.batches)
        after = outcome(lambda: inference.run(engine, grey(0), name="own").result)
    levels = [float(item.mean()) if isinstance(item, np.ndarray) else item for item in found]
    return levels, batches, idle.closed, after


def test_a_batch_that_does_not_fit_is_run_in_parts(tmp_path: Path) -> None:
    found, batches, gone, after = in_a_process(squeezed, tmp_path, 256, 125 * MIB)
    assert found == pytest.approx(np.exp(range(5)), rel=1e-5)
    assert batches[:2] == [1, 4]
    assert batches[2] == 2
    assert set(batches[2:]) <= {1, 2}
    assert gone
    assert after.mean() == 1


def test_a_single_image_that_does_not_fit_fails_with_its_code(tmp_path: Path) -> None:
    found, batches, gone, after = in_a_process(squeezed, tmp_path, 1024, 100 * MIB)
    assert {error.code for error in found} == {"out_of_memory"}
    assert str(found[0]).startswith(
        "a.onnx on an input of (1, 3, 1024, 1024): expected enough memory"
    )
    # Each alone, and the first one once more after the idle model went.
    assert batches[:2] == [1, 1]
    assert gone
    # What fits is done.
    assert after.mean() == 1
