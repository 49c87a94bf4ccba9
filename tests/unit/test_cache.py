"""The model cache: one load per model and device, and eviction within the budget."""

import hashlib
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import helper, numpy_helper

from tests.support.tiny_models import saved, value
from worker.errors import DeviceOutOfMemory, ModelInvalid, ModelUnavailable
from worker.models.engines.budget import Budget, machine_memory
from worker.models.engines.cache import ModelCache
from worker.models.engines.engine import Engine
from worker.models.engines.load import make_loader
from worker.models.engines.onnx.engine import OnnxEngine
from worker.models.engines.onnx.graph import prepare
from worker.models.files.file_cache import FileCache
from worker.models.files.profile import Profile
from worker.models.files.store import ModelFile

WEIGHTS = 3 * 64 * 64 * 4
"""Bytes of one tiny model's weights."""
OTHERS = 14_000
"""Bytes of its three nodes, and of the rest of its file, at most."""
AMPLE = Budget(memory=2**40, gpu_memory=2**40, gpu_idle=3600)


class Loads:
    """The real loader on the CPU, which counts loads and reports a GPU when asked for one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.done: list[tuple[str, str]] = []
        self.engines: list[OnnxEngine] = []
        self._load = make_loader(threads=1, file_cache=FileCache(folder), prepare=prepare)

    def __call__(self, file: ModelFile, device: str) -> Engine:
        engine = self._load(file, "cpu")
        assert isinstance(engine, OnnxEngine)
        engine.facts = replace(engine.facts, device=device)
        self.done.append((file.name, device))
        self.engines.append(engine)
        return engine

    @property
    def loaded(self) -> list[str]:
        """Return the names of the loaded models, the oldest load first."""
        return [
            name for (name, _), engine in zip(self.done, self.engines, strict=True) if alive(engine)
        ]

    def model(self, name: str, *, times: int = 1) -> ModelFile:
        """Write a model with `times` times the usual weights."""
        weights = np.full((times, 3, 64, 64), ord(name), np.float32)
        nodes = [
            helper.make_node("ReduceMean", ["w"], ["bias"], axes=[0], keepdims=1),
            helper.make_node("Add", ["x", "bias"], ["sum"]),
            helper.make_node("ReduceMean", ["sum"], ["y"], axes=[1], keepdims=1),
        ]
        path = saved(
            self.folder / f"{name}.onnx",
            nodes,
            [value("x", (1, 3, 64, 64))],
            [value("y", (1, 1, 64, 64))],
            [numpy_helper.from_array(weights, "w")],
        )
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return ModelFile(name=name, path=path, sha256=digest, profile=Profile())


def alive(engine: Engine) -> bool:
    try:
        engine.infer(np.zeros((1, 3, 64, 64), np.float32))
    except RuntimeError:
        return False
    return True


@pytest.fixture
def loads(tmp_path: Path) -> Loads:
    return Loads(tmp_path)


def use(cache: ModelCache, file: ModelFile, device: str = "cpu", *, keep: bool = False) -> Engine:
    with cache.use(file, device, keep=keep) as engine:
        return engine


def room_for(models: float, **budget: float) -> Budget:
    size = int(models * (WEIGHTS + OTHERS))
    return replace(AMPLE, memory=size, gpu_memory=size, **budget)


def test_many_threads_share_one_load(loads: Loads) -> None:
    together = threading.Barrier(16)
    cache = ModelCache(loads, budget=AMPLE)
    models = [loads.model(name) for name in "ab"]

    def get(number: int) -> Engine:
        together.wait()
        return use(cache, models[number % 2])

    with ThreadPoolExecutor(16) as pool:
        engines = list(pool.map(get, range(16)))
    assert sorted(loads.done) == [("a", "cpu"), ("b", "cpu")]
    assert len({id(engine) for engine in engines}) == 2


def test_a_second_device_or_profile_is_a_second_load(loads: Loads) -> None:
    cache = ModelCache(loads, budget=AMPLE)
    model = loads.model("a")
    for device in ("cpu", "cuda", "cpu"):
        use(cache, model, device)
    assert loads.done == [("a", "cpu"), ("a", "cuda")]
    for profile in (Profile(mean=0.1, size=64), Profile(output="y"), Profile(output=0)):
        use(cache, replace(model, profile=profile))
    assert len(loads.done) == 4


def test_a_failed_load_reaches_every_waiting_thread_and_is_tried_again(loads: Loads) -> None:
    attempts = []
    together = threading.Barrier(4)
    waiting = threading.Semaphore(0)

    def load(file: ModelFile, device: str) -> Engine:
        attempts.append(1)
        if len(attempts) > 1:
            return loads(file, device)
        for _ in range(4):
            waiting.acquire()
        raise ModelInvalid("broken")

    cache = ModelCache(load, budget=AMPLE)
    model = loads.model("a")

    def get(_: int) -> str:
        together.wait()
        waiting.release()
        try:
            use(cache, model)
        except ModelInvalid as error:
            return str(error)
        return "loaded"

    with ThreadPoolExecutor(4) as pool:
        assert "broken" in set(pool.map(get, range(4)))
    assert use(cache, model).bytes > WEIGHTS
    assert len(attempts) == 2


def test_close_closes_every_engine(loads: Loads) -> None:
    cache = ModelCache(loads, budget=AMPLE)
    for name in "ab":
        use(cache, loads.model(name))
    assert loads.loaded == ["a", "b"]
    cache.close()
    cache.close()
    assert loads.loaded == []


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_least_recently_used_engine_is_closed(loads: Loads, device: str) -> None:
    cache = ModelCache(loads, budget=room_for(2))
    a, b, c = (loads.model(name) for name in "abc")
    for model in (a, b, a, c):
        use(cache, model, device)
    assert loads.loaded == ["a", "c"]


def test_each_kind_of_memory_has_its_own_budget(loads: Loads) -> None:
    cache = ModelCache(loads, budget=room_for(1))
    use(cache, loads.model("a"), "cpu")
    use(cache, loads.model("b"), "cuda:0")
    assert loads.loaded == ["a", "b"]


def test_an_engine_in_use_is_closed_only_afterwards(loads: Loads) -> None:
    cache = ModelCache(loads, budget=room_for(1))
    a, b = loads.model("a"), loads.model("b")
    with cache.use(a, "cpu"):
        with cache.use(b, "cpu"):
            assert loads.loaded == ["a", "b"]
        assert loads.loaded == ["a", "b"]
        # The older one is in use, and the newest stays for the next job.
    assert loads.loaded == ["a"]


def test_engines_with_keep_are_closed_last(loads: Loads) -> None:
    cache = ModelCache(loads, budget=room_for(2))
    a, b, c, d = (loads.model(name) for name in "abcd")
    use(cache, a, "cuda", keep=True)
    use(cache, a, "cuda")
    use(cache, b, "cuda")
    use(cache, c, "cuda")
    assert loads.loaded == ["a", "c"]
    use(cache, c, "cuda", keep=True)
    use(cache, d, "cuda")
    assert loads.loaded == ["c", "d"]


def test_a_model_above_the_budget_is_loaded_alone(
    loads: Loads, caplog: pytest.LogCaptureFixture
) -> None:
    cache = ModelCache(loads, budget=room_for(2))
    use(cache, loads.model("a"))
    big = loads.model("b", times=4)
    with caplog.at_level(logging.WARNING):
        use(cache, big)
    assert loads.loaded == ["b"]
    assert "more than the budget" in caplog.text
    assert "b takes " in caplog.text
    use(cache, big)
    assert len(loads.done) == 2
    use(cache, loads.model("c"))
    assert loads.loaded == ["c"]


def wait_until(done: Callable[[], bool]) -> None:
    """Wait for a condition, at most until the time limit of the suite."""
    pause = threading.Event()
    while not done():
        pause.wait(0.01)


def test_an_idle_model_leaves_the_gpu_unless_it_is_kept(loads: Loads) -> None:
    cache = ModelCache(loads, budget=replace(AMPLE, gpu_idle=0.05))
    on_cpu, auto, kept, used = (loads.model(name) for name in "abcd")
    use(cache, on_cpu, "cpu")
    use(cache, kept, "cuda", keep=True)
    with cache.use(used, "cuda"):
        use(cache, auto, "cuda")
        wait_until(lambda: loads.loaded == ["a", "c", "d"])
    wait_until(lambda: loads.loaded == ["a", "c"])
    use(cache, auto, "cuda")
    assert len(loads.done) == 5
    wait_until(lambda: loads.loaded == ["a", "c"])


def test_one_timer_serves_all_engines_and_ends_with_the_cache(loads: Loads) -> None:
    def timers() -> int:
        return sum(isinstance(thread, threading.Timer) for thread in threading.enumerate())

    before = timers()
    cache = ModelCache(loads, budget=AMPLE)
    use(cache, loads.model("a"), "cpu")
    assert timers() == before
    for name in "bcd":
        use(cache, loads.model(name), "cuda")
    assert timers() == before + 1
    cache.close()
    wait_until(lambda: timers() == before)


def test_a_missing_model_file_is_a_transient_error(loads: Loads) -> None:
    model = loads.model("a")
    model.path.unlink()
    cache = ModelCache(loads, budget=AMPLE)
    with pytest.raises(ModelUnavailable, match=r"was there and is gone .*CACHE_BYTES"):
        use(cache, model)
    assert loads.model("a") == model
    assert use(cache, model).bytes > WEIGHTS


def test_a_missing_checkpoint_is_a_transient_error(tmp_path: Path) -> None:
    gone = ModelFile(name="own", path=tmp_path / "own.pth", sha256="0" * 64, profile=Profile())
    with pytest.raises(ModelUnavailable, match="was there and is gone"):
        make_loader(threads=1, file_cache=FileCache(tmp_path), prepare=prepare)(gone, "cpu")


@pytest.mark.parametrize("profile", [Profile(layout="nhwc"), Profile(output="d2")])
def test_a_profile_that_no_checkpoint_fits_is_refused(tmp_path: Path, profile: Profile) -> None:
    file = ModelFile(name="own", path=tmp_path / "own.pth", sha256="0" * 64, profile=profile)
    with pytest.raises(ModelInvalid, match="expected a profile with layout nchw and output 0"):
        make_loader(threads=1, file_cache=FileCache(tmp_path), prepare=prepare)(file, "cpu")


def test_free_memory_closes_idle_models_and_none_in_use(loads: Loads) -> None:
    cache = ModelCache(loads, budget=AMPLE)
    used, idle, kept, on_cpu = (loads.model(name) for name in "abcd")
    use(cache, idle, "cuda")
    use(cache, kept, "cuda", keep=True)
    use(cache, on_cpu, "cpu")
    with cache.use(used, "cuda"):
        cache.free_memory("cuda:0")
        assert loads.loaded == ["d", "a"]
        cache.free_memory("cpu")
        assert loads.loaded == ["a"]
    use(cache, idle, "cuda")
    assert loads.loaded == ["a", "b"]


@pytest.mark.parametrize("fits_then", [True, False])
def test_a_model_that_does_not_fit_closes_the_idle_ones(loads: Loads, fits_then: bool) -> None:
    idle, large = loads.model("a"), loads.model("b")

    def load(file: ModelFile, device: str) -> Engine:
        if file is large and ("a" in loads.loaded or not fits_then):
            raise DeviceOutOfMemory("b does not fit")
        return loads(file, device)

    cache = ModelCache(load, budget=AMPLE)
    use(cache, idle, "cuda")
    if fits_then:
        use(cache, large, "cuda")
        assert loads.loaded == ["b"]
    else:
        with pytest.raises(DeviceOutOfMemory, match="b does not fit"):
            use(cache, large, "cuda")
        assert loads.loaded == []
        assert not cache.is_loaded(large.sha256)


def test_a_loaded_model_is_known_by_its_hash(loads: Loads) -> None:
    cache = ModelCache(loads, budget=AMPLE)
    model = loads.model("a")
    assert not cache.is_loaded(model.sha256)
    use(cache, model)
    assert cache.is_loaded(model.sha256)
    cache.close()
    assert not cache.is_loaded(model.sha256)


def test_a_budget_of_0_is_half_of_the_memory() -> None:
    budget = Budget.of(memory=0, gpu_memory=5, gpu_idle=60)
    assert budget.memory == machine_memory() // 2 > 2**27
    assert budget.gpu_memory == 5
