"""The Winograd engine on the real network."""

from pathlib import Path

import numpy as np
import onnxruntime

from worker.models.engines.onnx.prepared_graph import prepared_graph
from worker.models.engines.winograd.engine import load_winograd_engine
from worker.models.files.file_cache import FileCache
from worker.models.files.profile import Profile
from worker.models.files.store import ModelFile

_RNG = np.random.default_rng(6)


def test_the_real_network(isnet_onnx: Path, tmp_path: Path) -> None:
    file = ModelFile(name="isnet", path=isnet_onnx, sha256="0" * 64, profile=Profile())
    ready = prepared_graph(file, full_precision=True, file_cache=FileCache(tmp_path))
    session = onnxruntime.InferenceSession(str(ready), providers=["CPUExecutionProvider"])
    image = _RNG.random((1, 3, 1024, 1024), np.float32) - np.float32(0.5)
    theirs = session.run(None, {session.get_inputs()[0].name: image})[0][:, 0]
    engine = load_winograd_engine(ready, threads=0)
    first = engine.infer(image)
    assert np.abs(first - theirs).max() < 1e-4
    # The layers' memory is reused, and nothing of an image may remain in it.
    engine.infer(image[:, :, ::-1])
    assert np.array_equal(engine.infer(image), first)
    assert engine.input_size == (1024, 1024)
    assert engine.bytes > isnet_onnx.stat().st_size
