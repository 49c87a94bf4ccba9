"""The PyTorch engine: saliency maps, and the refusal of files that are not checkpoints."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from tests.support.random_isnet import random_state
from worker.errors import ModelInvalid
from worker.models.engines.engine import Engine, EngineFacts
from worker.models.engines.torch import engine as torch_engine
from worker.models.engines.torch.isnet import network_for


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return random_state()


@pytest.fixture(scope="module")
def checkpoint(state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "isnet.pth"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def engine(checkpoint: Path) -> Engine:
    return torch_engine.load_torch_engine(checkpoint, device="cpu", threads=0)


@pytest.fixture(scope="module")
def batch() -> NDArray[np.float32]:
    return np.random.default_rng(1).random((2, 3, 128, 96), dtype=np.float32) - np.float32(0.5)


class Payload:
    """Creates a folder when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.trace),)


def test_facts_are_those_of_the_weights(engine: Engine) -> None:
    assert engine.facts == EngineFacts(
        engine="torch", provider="torch-cpu", device="cpu", dtype="float32"
    )


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 4, 64, 64), (0, 3, 64, 64)])
def test_batch_of_another_shape_is_refused(engine: Engine, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected a batch of shape \(N, 3, H, W\)"):
        engine.infer(np.zeros(shape, np.float32))


def test_a_closed_engine_reports_that(checkpoint: Path, batch: NDArray[np.float32]) -> None:
    engine = torch_engine.load_torch_engine(checkpoint, device="cpu", threads=0)
    engine.close()
    engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        engine.infer(batch)


def test_threads(checkpoint: Path) -> None:
    before = torch.get_num_threads()
    try:
        torch_engine.load_torch_engine(checkpoint, device="cpu", threads=1)
        assert torch.get_num_threads() == 1
        torch_engine.load_torch_engine(checkpoint, device="cpu", threads=0)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("device", ["tpu", "mps", "", "cuda:-1"])
def test_unknown_device_is_refused(checkpoint: Path, device: str) -> None:
    with pytest.raises(ValueError, match="expected the device cpu, cuda or cuda:<index>"):
        torch_engine.load_torch_engine(checkpoint, device=device, threads=0)


def test_absent_cuda_device_is_refused(checkpoint: Path) -> None:
    with pytest.raises(RuntimeError, match="CUDA devices"):
        torch_engine.load_torch_engine(checkpoint, device="cuda:99", threads=0)


@pytest.mark.parametrize("form", ["zip", "legacy", "bare pickle"])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path, form: str) -> None:
    path, trace = tmp_path / "evil.pth", tmp_path / "trace"
    content = {"conv_in.weight": Payload(trace)}
    if form == "bare pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(ModelInvalid, match=r"evil\.pth holds code .* \w+\.mkdir"):
        torch_engine.load_torch_engine(path, device="cpu", threads=0)
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
        torch_engine.load_torch_engine(path, device="cpu", threads=0)


def test_page_instead_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.pth").write_bytes(b"<html>not found</html>")
    with pytest.raises(ModelInvalid, match="not a checkpoint"):
        torch_engine.load_torch_engine(tmp_path / "page.pth", device="cpu", threads=0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"fc.weight": torch.zeros(2)}, r"ISNetBase.* 1 unexpected \(fc\.weight\)"),
        ({}, "missing"),
        (
            {"epoch": 3, "lr": 0.1},
            "found a value of the type int at 'epoch'; save",
        ),
        ([1, 2], "expected names with tensors, found a value of the type list; save"),
    ],
)
def test_unrelated_checkpoint_is_refused(tmp_path: Path, content: object, reason: str) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(ModelInvalid, match=rf"other\.pth is not a checkpoint of ISNet: .*{reason}"):
        torch_engine.load_torch_engine(tmp_path / "other.pth", device="cpu", threads=0)


@pytest.mark.parametrize("name", ["conv_in.weight", "stage1.rebnconvin.bn_s1.running_var"])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "bool", "int64", "complex64", "float8_e4m3fn"])
def test_weights_that_are_not_plain_numbers_are_refused(
    state: dict[str, Tensor], name: str, dtype: str
) -> None:
    state = state | {name: state[name].to(getattr(torch, dtype))}
    with pytest.raises(ValueError, match=rf"found torch\.{dtype} at {name}, .* to float32"):
        network_for(state)


@pytest.mark.parametrize("name", ["OWN.PTH", "own.Pt", "own.SafeTensors"])
def test_the_suffix_may_be_in_capitals(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "own.SafeTensors":
        save_file({"a": torch.ones(1)}, path)
    else:
        torch.save({"a": torch.ones(1)}, path)
    with pytest.raises(ModelInvalid, match=r"1 unexpected \(a\)"):
        torch_engine.load_torch_engine(path, device="cpu", threads=0)


def test_suffix_is_checked(tmp_path: Path) -> None:
    (tmp_path / "isnet.onnx").write_bytes(b"")
    with pytest.raises(ModelInvalid, match=r"found isnet\.onnx"):
        torch_engine.load_torch_engine(tmp_path / "isnet.onnx", device="cpu", threads=0)


def test_missing_file_is_not_an_error_of_the_model(tmp_path: Path) -> None:
    for name in ("none.pth", "none.safetensors"):
        with pytest.raises(FileNotFoundError):
            torch_engine.load_torch_engine(tmp_path / name, device="cpu", threads=0)
