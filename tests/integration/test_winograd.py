"""The Winograd engine on the real network."""

from pathlib import Path

import numpy as np
import onnxruntime

from worker.models.engines.onnx.prepared import prepared
from worker.models.engines.winograd.engine import load
from worker.models.files.file_cache import FileCache

_RNG = np.random.default_rng(6)


def test_the_real_network(isnet_onnx: Path, tmp_path: Path) -> None:
    ready = prepared(
        *(isnet_onnx,),
        name="isnet",
        sha256="0" * 64,
        output=None,
        full_precision=True,
        disk=FileCache(tmp_path),
    )
    session = onnxruntime.InferenceSession(str(ready), providers=["CPUExecutionProvider"])
    image = _RNG.random((1, 3, 1024, 1024), np.float32) - np.float32(0.5)
    theirs = session.run(None, {session.get_inputs()[0].name: image})[0][:, 0]
    engine = load(ready, threads=0)
    first = engine.infer(image)
    assert np.abs(first - theirs).max() < 1e-4
    # Memory is used again and again; nothing of an image may stay in it.
    engine.infer(image[:, :, ::-1])
    assert np.array_equal(engine.infer(image), first)
    assert engine.input_size == (1024, 1024)
    assert engine.bytes > isnet_onnx.stat().st_size
