"""The model cache with the real weights."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from worker.models.engines.budget import Budget
from worker.models.engines.cache import ModelCache
from worker.models.engines.engine import Engine
from worker.models.engines.load import make_loader
from worker.models.files.file_cache import FileCache
from worker.models.files.store import ModelFile, ModelStore

AMPLE = Budget(memory=2**40, gpu_memory=2**40, gpu_idle=3600)


def use(cache: ModelCache, file: ModelFile, device: str = "cpu", *, keep: bool = False) -> Engine:
    with cache.use(file, device, keep=keep) as engine:
        return engine


@pytest.mark.usefixtures("isnet_onnx")
def test_the_real_model_is_loaded_once(store: ModelStore, tmp_path: Path) -> None:
    model = store.resolve("isnet-general-use")
    load = make_loader(threads=0, file_cache=FileCache(tmp_path))
    names: list[str] = []

    def counted(file: ModelFile, device: str) -> Engine:
        names.append(file.name)
        return load(file, device)

    cache = ModelCache(counted, budget=AMPLE)
    with ThreadPoolExecutor(4) as pool:
        engines = list(pool.map(lambda _: use(cache, model), range(4)))
    assert names == ["isnet-general-use"]
    assert len(set(map(id, engines))) == 1
    assert engines[0].facts.device == "cpu"
    assert engines[0].facts.dtype == "float32"
    # float16 on disk, float32 in memory; some hundred nodes take more.
    assert engines[0].bytes == pytest.approx(2 * model.path.stat().st_size, rel=0.03)
