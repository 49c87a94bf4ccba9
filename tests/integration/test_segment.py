"""Uploads to a device whose memory is short, in a process of its own."""

from pathlib import Path

import numpy as np

from tests.support.device_engine import DeviceEngine
from tests.support.device_models import mean_and, photographs
from tests.support.short_memory import MIB, in_a_process, leave
from worker.errors import DeviceOutOfMemory
from worker.models.engines.budget import Budget
from worker.models.engines.cache import ModelCache
from worker.models.engines.segmenter import Conversion
from worker.models.files.profile import Profile
from worker.models.files.store import ModelFile
from worker.models.inference import Inference
from worker.models.watchdog import Watchdog


def run_with_little_memory(folder: Path) -> tuple[str, bool, tuple[int, ...]]:
    """Upload an image that does not fit.

    Return its error, whether an idle model was closed, and the shape of a mask made afterwards.
    """
    own, idle = (DeviceEngine(mean_and(folder / f"{name}.onnx", "Identity")) for name in "ab")
    own.go.set()
    engines = {"own": own, "idle": idle}
    files = {
        name: ModelFile(name=name, path=Path(name), sha256=name, profile=Profile(mean=0))
        for name in engines
    }
    budget = Budget(memory=2**40, gpu_memory=2**40, gpu_idle=3600)
    cache = ModelCache(lambda file, _: engines[file.name], budget=budget)
    inference = Inference(cache=cache, watchdog=Watchdog(device_timeout=600))
    with cache.use(files["idle"], "cuda", keep=True):
        pass
    fits, wide = photographs()[0], np.zeros((8, 3_000_000, 3), np.uint8)
    reading = Conversion.of(files["own"].profile, (64, 64))

    def segment_small() -> tuple[int, ...]:
        uploaded = inference.upload(own, own, fits, size=(64, 64), name="own")
        return inference.segment(own, uploaded, reading, name="own").result.mask.shape

    sentence = "it fits"
    with cache.use(files["own"], "cuda"):
        segment_small()
        leave(100 * MIB)
        try:
            inference.upload(own, own, wide, size=(64, 64), name="own")
        except DeviceOutOfMemory as error:
            sentence = str(error)
        after = segment_small()
    try:
        idle.infer(np.zeros((1, 3, 8, 8), np.float32))
    except RuntimeError as error:
        return sentence, "closed" in str(error), after
    return sentence, False, after


def test_an_image_that_does_not_fit_closes_idle_models(tmp_path: Path) -> None:
    sentence, gone, after = in_a_process(run_with_little_memory, tmp_path)
    assert sentence.startswith("a.onnx on an image of (8, 3000000, 3): expected enough memory")
    assert gone
    assert after == (200, 301)
