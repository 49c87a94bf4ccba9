"""Pictures on their way through a device: shared batches, what does not fit, short memory."""

import io
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from producer.contract.options import Options
from tests.support.device_models import Picture, mean_and, photographs
from tests.support.short_memory import MIB, in_a_process, leave
from worker.errors import DeviceOutOfMemory, ModelInvalid
from worker.imaging.decode import open_image
from worker.models.engines.budget import Budget
from worker.models.engines.cache import ModelCache
from worker.models.engines.on_device import Reading, Seen, Uploaded
from worker.models.engines.onnx.engine import OnnxEngine
from worker.models.files.profile import Profile
from worker.models.files.store import ModelFile
from worker.models.inference import Inference
from worker.models.watchdog import Watchdog
from worker.observability.stopwatch import Stopwatch
from worker.pipeline.segment import LoadedModel, segment


class OnDevice:
    """An engine that takes pictures, as one on a GPU does; its batches are noted."""

    def __init__(self, engine: OnnxEngine) -> None:
        self.facts = replace(engine.facts, device="cuda:0")
        self.most = engine.most
        self.input_size, self.bytes = engine.input_size, engine.bytes
        self.infer, self.close = engine.infer, engine.close
        self.batches: list[int] = []
        self.uploads = 0
        self.started, self.go = Event(), Event()
        found = engine.on_pictures()
        assert found is not None
        self._pictures = found
        self.pictures = self

    def upload(self, rgb: Picture, size: tuple[int, int]) -> Uploaded:
        found = self._pictures.upload(rgb, size)
        self.uploads += 1
        return found

    def masks(self, pictures: Sequence[Uploaded], reading: Reading) -> Sequence[Seen]:
        self.batches.append(len(pictures))
        self.started.set()
        self.go.wait()
        return self._pictures.masks(pictures, reading)


def png(pixels: Picture) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def segmenting(
    engine: OnDevice, *, profile: Profile
) -> Callable[[Picture, Options], tuple[NDArray[Any], tuple[str, ...], dict[str, float]]]:
    """Masks, warnings and stages of pictures whose model is on what says it is a GPU."""
    file = ModelFile(name="own", path=Path("own"), sha256="own", profile=profile)
    budget = Budget(memory=2**40, gpu_memory=2**40, gpu_idle=3600)
    cache = ModelCache(lambda *_: engine, budget=budget)
    inference = Inference(cache=cache, watchdog=Watchdog(timeout=600))
    model = LoadedModel(
        file=file, engine=engine, inference=inference, size=(64, 64), fallback=None, warnings=()
    )

    def run(
        rgb: Picture, options: Options
    ) -> tuple[NDArray[Any], tuple[str, ...], dict[str, float]]:
        watch = Stopwatch()
        picture = open_image(png(rgb), max_pixels=10**6).decode()
        found, _, warnings = segment(picture, options, model=model, watch=watch)
        return found, warnings, watch.seconds()

    return run


def test_pictures_of_every_size_share_a_batch(tmp_path: Path) -> None:
    """As many as the engine is good for."""
    engine = OnDevice(mean_and(tmp_path / "own.onnx", "Identity"))
    engine.most = 2
    run = segmenting(engine, profile=Profile(mean=0))
    images = photographs()
    with ThreadPoolExecutor(len(images)) as pool:
        first = pool.submit(run, images[0], Options())
        engine.started.wait()
        rest = [pool.submit(run, rgb, Options()) for rgb in images[1:]]
        while engine.uploads < len(images):
            time.sleep(0.05)
        time.sleep(0.2)  # From there into the queue.
        engine.go.set()
        found = [future.result() for future in (first, *rest)]
    assert engine.batches == [1, 2, 2]
    for rgb, (levels, warnings, stages) in zip(images, found, strict=True):
        assert levels.shape == rgb.shape[:2]
        assert warnings == ()
        assert {"prepare", "model", "mask"} <= stages.keys()


def test_what_does_not_fit_the_device_goes_the_other_way(tmp_path: Path) -> None:
    engine = OnDevice(mean_and(tmp_path / "own.onnx", "Identity"))
    engine.go.set()
    run = segmenting(engine, profile=Profile(mean=0, divisor="max"))
    assert run(photographs()[0], Options())[0].shape == (200, 301)
    run = segmenting(engine, profile=Profile(mean=0))
    run(photographs()[0], Options(preset="isnet-segment"))
    run(photographs()[0], Options(preset="segmentation-custom"))
    assert engine.batches == []
    run(photographs()[0], Options())
    assert engine.batches == [1]


def test_a_device_warns_of_logits_and_refuses_what_is_no_number(tmp_path: Path) -> None:
    engine = OnDevice(mean_and(tmp_path / "own.onnx", "Identity"))
    engine.go.set()
    _, (warning,), _ = segmenting(engine, profile=Profile(mean=0, std=0.1))(
        photographs()[0], Options()
    )
    assert "expected a map of 0…1" in warning
    engine = OnDevice(mean_and(tmp_path / "log.onnx", "Sqrt"))
    engine.go.set()
    with pytest.raises(ModelInvalid, match="expected a map of numbers, found NaN"):
        segmenting(engine, profile=Profile())(np.zeros((70, 80, 3), np.uint8), Options())


def squeezed(folder: Path) -> tuple[str, bool, tuple[int, ...]]:
    """What a picture that does not fit is told, whether an idle model went, and one that fits."""
    own, idle = (OnDevice(mean_and(folder / f"{name}.onnx", "Identity")) for name in "ab")
    own.go.set()
    engines = {"own": own, "idle": idle}
    files = {
        name: ModelFile(name=name, path=Path(name), sha256=name, profile=Profile(mean=0))
        for name in engines
    }
    budget = Budget(memory=2**40, gpu_memory=2**40, gpu_idle=3600)
    cache = ModelCache(lambda file, _: engines[file.name], budget=budget)
    inference = Inference(cache=cache, watchdog=Watchdog(timeout=600))
    with cache.use(files["idle"], "cuda", keep=True):
        pass
    fits, wide = photographs()[0], np.zeros((8, 3_000_000, 3), np.uint8)
    reading = Reading.of(files["own"].profile, (64, 64))

    def see() -> tuple[int, ...]:
        uploaded = inference.upload(own, own, fits, size=(64, 64), name="own")
        return inference.see(own, uploaded, reading, name="own").result.mask.shape

    said = "it fits"
    with cache.use(files["own"], "cuda"):
        see()
        leave(100 * MIB)
        try:
            inference.upload(own, own, wide, size=(64, 64), name="own")
        except DeviceOutOfMemory as error:
            said = str(error)
        after = see()
    try:
        idle.infer(np.zeros((1, 3, 8, 8), np.float32))
    except RuntimeError as error:
        return said, "closed" in str(error), after
    return said, False, after


def test_a_picture_that_does_not_fit_makes_idle_models_go(tmp_path: Path) -> None:
    said, gone, after = in_a_process(squeezed, tmp_path)
    assert said.startswith("a.onnx on a picture of (8, 3000000, 3): expected enough memory")
    assert gone
    assert after == (200, 301)
