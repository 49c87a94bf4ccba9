"""The PyTorch engine with the real weights."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.support.short_memory import MIB, in_a_process, leave
from worker.errors import DeviceOutOfMemory
from worker.models.engines.engine import Engine, EngineFacts
from worker.models.engines.torch import engine as torch_engine
from worker.models.engines.torch.isnet import network_for


@pytest.fixture(scope="module")
def state(isnet_pth: Path) -> dict[str, Tensor]:
    loaded: dict[str, Tensor] = torch.load(isnet_pth, map_location="cpu", weights_only=True)
    return loaded


@pytest.fixture(scope="module")
def engine(isnet_pth: Path) -> Engine:
    return torch_engine.load_torch_engine(isnet_pth, device="cpu", threads=0)


@pytest.fixture(scope="module")
def batch() -> NDArray[np.float32]:
    return np.random.default_rng(1).random((2, 3, 128, 96), dtype=np.float32) - np.float32(0.5)


def halved(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: t.half() if t.is_floating_point() else t for name, t in state.items()}


def test_maps_have_the_size_of_the_images(engine: Engine, batch: NDArray[np.float32]) -> None:
    maps = engine.infer(batch)
    assert maps.shape == (2, 128, 96)
    assert maps.dtype == np.float32
    assert 0 <= maps.min() < maps.max() <= 1
    assert engine.input_size == (None, None)


def run_with_little_memory(path: Path) -> tuple[str, tuple[int, ...]]:
    """Return the error for an image that does not fit, and the shape of a map of one that does."""
    engine = torch_engine.load_torch_engine(path, device="cpu", threads=1)
    engine.infer(np.zeros((1, 3, 64, 64), np.float32))
    leave(100 * MIB)
    try:
        engine.infer(np.zeros((1, 3, 1024, 1024), np.float32))
    except DeviceOutOfMemory as error:
        return str(error), engine.infer(np.zeros((1, 3, 64, 64), np.float32)).shape
    return "it fits", ()


def test_the_engine_still_works_after_out_of_memory(isnet_pth: Path) -> None:
    sentence, shape = in_a_process(run_with_little_memory, isnet_pth)
    assert sentence.startswith(
        "ISNet on an input of (1, 3, 1024, 1024): expected enough memory on cpu"
    )
    assert shape == (1, 64, 64)


def test_half_checkpoint_runs_in_float32_on_the_cpu(
    state: dict[str, Tensor], batch: NDArray[np.float32], engine: Engine, tmp_path: Path
) -> None:
    torch.save(halved(state), tmp_path / "half.pth")
    half = torch_engine.load_torch_engine(tmp_path / "half.pth", device="cpu", threads=0)
    assert half.facts.dtype == "float32"
    # The weights were float16 already; only BatchNorm's 1 - eps changes, as it rounds to 1.
    np.testing.assert_allclose(half.infer(batch), engine.infer(batch), rtol=0, atol=1e-4)


def test_half_precision_of_cuda_keeps_batchnorm_in_float32(
    state: dict[str, Tensor], batch: NDArray[np.float32], engine: Engine
) -> None:
    """The network as CUDA runs it, on the CPU: same dtypes, slightly different values."""
    network = network_for(state)
    torch_engine.halve_precision(network)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {norm.weight.dtype for norm in norms} == {torch.float32}
    assert {norm.running_var.dtype for norm in norms if norm.running_var is not None} == {
        torch.float32
    }
    half = torch_engine.TorchEngine(network)
    assert half.facts.dtype == "float16"
    maps = half.infer(batch)
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps, engine.infer(batch), rtol=0, atol=2e-2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_runs_in_half_precision(
    isnet_pth: Path, batch: NDArray[np.float32], engine: Engine
) -> None:
    half = torch_engine.load_torch_engine(isnet_pth, device="cuda", threads=0)
    assert half.facts == EngineFacts(
        engine="torch", provider="torch-cuda", device="cuda:0", dtype="float16"
    )
    np.testing.assert_allclose(half.infer(batch), engine.infer(batch), rtol=0, atol=2e-2)
    half.close()


def test_safetensors_equal_pth(
    state: dict[str, Tensor], batch: NDArray[np.float32], engine: Engine, tmp_path: Path
) -> None:
    save_file(state, tmp_path / "isnet.safetensors")
    other = torch_engine.load_torch_engine(tmp_path / "isnet.safetensors", device="cpu", threads=0)
    np.testing.assert_array_equal(other.infer(batch), engine.infer(batch))


def test_nested_and_prefixed_state_dict(
    state: dict[str, Tensor], batch: NDArray[np.float32], engine: Engine, tmp_path: Path
) -> None:
    nested = {"epoch": 3, "state_dict": {f"module.{name}": t for name, t in state.items()}}
    torch.save(nested, tmp_path / "nested.pt")
    other = torch_engine.load_torch_engine(tmp_path / "nested.pt", device="cpu", threads=0)
    np.testing.assert_array_equal(other.infer(batch), engine.infer(batch))


def test_concurrent_and_read_only_batches(engine: Engine, batch: NDArray[np.float32]) -> None:
    frozen = batch.copy()
    frozen.setflags(write=False)
    expected = engine.infer(batch)
    with ThreadPoolExecutor(4) as pool:
        for maps in pool.map(engine.infer, [frozen, batch[:, :, ::-1][:, :, ::-1]] * 3):
            np.testing.assert_array_equal(maps, expected)
