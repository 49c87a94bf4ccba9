"""Checkpoints in, saliency maps out; and what is no checkpoint is refused with its reason."""

import os
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.support.short_memory import MIB, in_a_process, leave
from worker.errors import DeviceOutOfMemory, ModelInvalid
from worker.models.engines.engine import Engine, EngineFacts
from worker.models.engines.torch import engine as torch_engine
from worker.models.engines.torch.isnet import network_for


@pytest.fixture(scope="module")
def state(isnet_pth: Path) -> dict[str, Tensor]:
    loaded: dict[str, Tensor] = torch.load(isnet_pth, map_location="cpu", weights_only=True)
    return loaded


@pytest.fixture(scope="module")
def engine(isnet_pth: Path) -> Engine:
    return torch_engine.load(isnet_pth, device="cpu", threads=0)


@pytest.fixture(scope="module")
def batch() -> NDArray[np.float32]:
    return np.random.default_rng(1).random((2, 3, 128, 96), dtype=np.float32) - np.float32(0.5)


class Payload:
    """Unpickled, it leaves a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.trace),)


def halved(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: t.half() if t.is_floating_point() else t for name, t in state.items()}


def test_maps_have_the_size_of_the_images(engine: Engine, batch: NDArray[np.float32]) -> None:
    maps = engine.infer(batch)
    assert maps.shape == (2, 128, 96)
    assert maps.dtype == np.float32
    assert 0 <= maps.min() < maps.max() <= 1
    assert engine.input_size == (None, None)


def squeezed(path: Path) -> tuple[str, tuple[int, ...]]:
    """What the engine says of an image that does not fit; and the shape of one that does."""
    engine = torch_engine.load(path, device="cpu", threads=1)
    engine.infer(np.zeros((1, 3, 64, 64), np.float32))
    leave(100 * MIB)
    try:
        engine.infer(np.zeros((1, 3, 1024, 1024), np.float32))
    except DeviceOutOfMemory as error:
        return str(error), engine.infer(np.zeros((1, 3, 64, 64), np.float32)).shape
    return "it fits", ()


def test_out_of_memory_is_said_and_passes(isnet_pth: Path) -> None:
    said, shape = in_a_process(squeezed, isnet_pth)
    assert said.startswith("ISNet on an input of (1, 3, 1024, 1024): expected enough memory on cpu")
    assert shape == (1, 64, 64)


def test_facts_are_those_of_the_weights(engine: Engine) -> None:
    assert engine.facts == EngineFacts(
        engine="torch", provider="torch-cpu", device="cpu", dtype="float32"
    )


def test_half_checkpoint_runs_in_float32_on_the_cpu(
    state: dict[str, Tensor], batch: NDArray[np.float32], engine: Engine, tmp_path: Path
) -> None:
    torch.save(halved(state), tmp_path / "half.pth")
    half = torch_engine.load(tmp_path / "half.pth", device="cpu", threads=0)
    assert half.facts.dtype == "float32"
    # The weights were float16 already; only BatchNorm's 1 - eps changes, as it rounds to 1.
    np.testing.assert_allclose(half.infer(batch), engine.infer(batch), rtol=0, atol=1e-4)


def test_half_precision_of_cuda_keeps_batchnorm_in_float32(
    state: dict[str, Tensor], batch: NDArray[np.float32], engine: Engine
) -> None:
    """What CUDA runs, on the CPU: the numbers of the two differ little, the dtypes not at all."""
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
    half = torch_engine.load(isnet_pth, device="cuda", threads=0)
    assert half.facts == EngineFacts(
        engine="torch", provider="torch-cuda", device="cuda:0", dtype="float16"
    )
    np.testing.assert_allclose(half.infer(batch), engine.infer(batch), rtol=0, atol=2e-2)
    half.close()


def test_safetensors_equal_pth(
    state: dict[str, Tensor], batch: NDArray[np.float32], engine: Engine, tmp_path: Path
) -> None:
    save_file(state, tmp_path / "isnet.safetensors")
    other = torch_engine.load(tmp_path / "isnet.safetensors", device="cpu", threads=0)
    np.testing.assert_array_equal(other.infer(batch), engine.infer(batch))


def test_nested_and_prefixed_state_dict(
    state: dict[str, Tensor], batch: NDArray[np.float32], engine: Engine, tmp_path: Path
) -> None:
    nested = {"epoch": 3, "state_dict": {f"module.{name}": t for name, t in state.items()}}
    torch.save(nested, tmp_path / "nested.pt")
    other = torch_engine.load(tmp_path / "nested.pt", device="cpu", threads=0)
    np.testing.assert_array_equal(other.infer(batch), engine.infer(batch))


def test_concurrent_and_read_only_batches(engine: Engine, batch: NDArray[np.float32]) -> None:
    frozen = batch.copy()
    frozen.setflags(write=False)
    expected = engine.infer(batch)
    with ThreadPoolExecutor(4) as pool:
        for maps in pool.map(engine.infer, [frozen, batch[:, :, ::-1][:, :, ::-1]] * 3):
            np.testing.assert_array_equal(maps, expected)


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 4, 64, 64), (0, 3, 64, 64)])
def test_batch_of_another_shape_is_refused(engine: Engine, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected a batch of shape \(N, 3, H, W\)"):
        engine.infer(np.zeros(shape, np.float32))


def test_closed_engine_says_so(isnet_pth: Path, batch: NDArray[np.float32]) -> None:
    engine = torch_engine.load(isnet_pth, device="cpu", threads=0)
    engine.close()
    engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        engine.infer(batch)


def test_threads(isnet_pth: Path) -> None:
    before = torch.get_num_threads()
    try:
        torch_engine.load(isnet_pth, device="cpu", threads=1)
        assert torch.get_num_threads() == 1
        torch_engine.load(isnet_pth, device="cpu", threads=0)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("device", ["tpu", "mps", "", "cuda:-1"])
def test_unknown_device_is_refused(isnet_pth: Path, device: str) -> None:
    with pytest.raises(ValueError, match="expected the device cpu, cuda or cuda:<index>"):
        torch_engine.load(isnet_pth, device=device, threads=0)


def test_absent_cuda_device_is_refused(isnet_pth: Path) -> None:
    with pytest.raises(RuntimeError, match="CUDA devices"):
        torch_engine.load(isnet_pth, device="cuda:99", threads=0)


@pytest.mark.parametrize("form", ["zip", "legacy", "bare pickle"])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path, form: str) -> None:
    path, trace = tmp_path / "evil.pth", tmp_path / "trace"
    content = {"conv_in.weight": Payload(trace)}
    if form == "bare pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(ModelInvalid, match=r"evil\.pth holds code .* \w+\.mkdir"):
        torch_engine.load(path, device="cpu", threads=0)
    assert not trace.exists()


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_truncated_file_is_refused(tmp_path: Path, suffix: str, kept: float) -> None:
    path = tmp_path / f"short{suffix}"
    small = {f"layer{number}.weight": torch.zeros(64, 64) for number in range(20)}
    if suffix == ".safetensors":
        save_file(small, path)
    else:
        torch.save(small, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(ModelInvalid, match="cut short or damaged"):
        torch_engine.load(path, device="cpu", threads=0)


def test_page_instead_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.pth").write_bytes(b"<html>not found</html>")
    with pytest.raises(ModelInvalid, match="never a checkpoint"):
        torch_engine.load(tmp_path / "page.pth", device="cpu", threads=0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"fc.weight": torch.zeros(2)}, r"ISNetBase.* 1 unexpected \(fc\.weight\)"),
        ({}, "missing"),
        ({"epoch": 3, "lr": 0.1}, "expected only tensors, found a int at 'epoch'"),
        ([1, 2], "expected names with tensors, found a list"),
    ],
)
def test_unrelated_checkpoint_is_refused(tmp_path: Path, content: object, reason: str) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(ModelInvalid, match=rf"other\.pth is not a checkpoint of ISNet: .*{reason}"):
        torch_engine.load(tmp_path / "other.pth", device="cpu", threads=0)


def test_suffix_is_checked(tmp_path: Path) -> None:
    (tmp_path / "isnet.onnx").write_bytes(b"")
    with pytest.raises(ModelInvalid, match=r"found isnet\.onnx"):
        torch_engine.load(tmp_path / "isnet.onnx", device="cpu", threads=0)


def test_missing_file_is_no_fault_of_the_model(tmp_path: Path) -> None:
    for name in ("none.pth", "none.safetensors"):
        with pytest.raises(FileNotFoundError):
            torch_engine.load(tmp_path / name, device="cpu", threads=0)
