"""One load per model, device and process, whatever the number of threads."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from worker.errors import ModelInvalid
from worker.models.cache import ModelCache
from worker.models.engine import Engine, EngineFacts
from worker.models.load import loader
from worker.models.profile import Profile
from worker.models.store import ModelFile, ModelStore


class Idle:
    """A stand-in that counts its loads; the cache never looks inside an engine."""

    facts = EngineFacts(engine="idle", provider="idle", device="cpu", dtype="float32")
    input_size = None
    turn = threading.Lock()
    closed = 0

    def infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return batch[:, 0]

    def close(self) -> None:
        self.closed += 1


def file(sha256: str) -> ModelFile:
    return ModelFile(name=sha256, path=Path(sha256), sha256=sha256, profile=Profile())


def test_many_threads_share_one_load() -> None:
    loads = []
    together = threading.Barrier(16)

    def load(model: ModelFile, device: str) -> Engine:
        loads.append((model.name, device))
        time.sleep(0.2)
        return Idle()

    cache = ModelCache(load)

    def get(number: int) -> Engine:
        together.wait()
        return cache.get(file("ab"[number % 2]), "cpu")

    with ThreadPoolExecutor(16) as pool:
        engines = list(pool.map(get, range(16)))
    assert sorted(loads) == [("a", "cpu"), ("b", "cpu")]
    assert len({id(engine) for engine in engines}) == 2


def test_a_second_device_is_a_second_load() -> None:
    loads = []

    def load(model: ModelFile, device: str) -> Engine:
        loads.append((model.name, device))
        return Idle()

    cache = ModelCache(load)
    for device in ("cpu", "cuda", "cpu"):
        cache.get(file("a"), device)
    assert loads == [("a", "cpu"), ("a", "cuda")]


def test_a_failed_load_reaches_everyone_and_is_tried_again() -> None:
    attempts = []
    together = threading.Barrier(4)

    def load(_: ModelFile, __: str) -> Engine:
        attempts.append(1)
        time.sleep(0.1)
        if len(attempts) == 1:
            raise ModelInvalid("broken")
        return Idle()

    cache = ModelCache(load)

    def get(_: int) -> str:
        together.wait()
        try:
            cache.get(file("a"), "cpu")
        except ModelInvalid as error:
            return str(error)
        return "loaded"

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(get, range(4))) == {"broken"}
    assert isinstance(cache.get(file("a"), "cpu"), Idle)
    assert len(attempts) == 2


def test_close_closes_every_engine_once() -> None:
    cache = ModelCache(lambda _, __: Idle())
    engines = [cache.get(file(name), "cpu") for name in "ab"]
    cache.close()
    cache.close()
    assert [getattr(engine, "closed", None) for engine in engines] == [1, 1]


@pytest.mark.usefixtures("isnet_onnx")
def test_the_real_model_is_loaded_once(store: ModelStore, tmp_path: Path) -> None:
    model = store.find("isnet-general-use")
    load = loader(threads=0, folder=tmp_path)
    loads = []

    def counted(found: ModelFile, device: str) -> Engine:
        loads.append(found.name)
        return load(found, device)

    cache = ModelCache(counted)
    with ThreadPoolExecutor(4) as pool:
        engines = list(pool.map(lambda _: cache.get(model, "cpu"), range(4)))
    assert loads == ["isnet-general-use"]
    assert len(set(map(id, engines))) == 1
    assert engines[0].facts.device == "cpu"
    assert engines[0].facts.dtype == "float32"
