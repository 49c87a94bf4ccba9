"""Checkpoints are read as torch reads them, and hostile ones at a small cost."""

import argparse
import random
from collections import OrderedDict, defaultdict, deque
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path, PurePosixPath
from uuid import UUID

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.support.hostile import checkpoints
from worker.errors import ModelInvalid
from worker.models.engines.torch import state_pickle
from worker.models.engines.torch.checkpoint import read_state_dict
from worker.models.engines.torch.engine import load_torch_engine

DTYPES = (
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool),
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
)


def state() -> dict[str, Tensor]:
    """Return tensors of every type and layout that a state dict may have."""
    torch.manual_seed(1)
    shared = torch.randn(4, 6)
    found = {str(dtype): (torch.randn(3, 4) * 50).to(dtype) for dtype in DTYPES}
    return found | {
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "whole": shared,
        "rows": shared[1:3],
        "transposed": shared.T,
        "channels last": torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        "expanded": torch.ones(1, 5).expand(4, 5),
        "parameter": nn.Parameter(torch.randn(2)),
        "frozen": nn.Parameter(torch.randn(2), requires_grad=False),
    }


def trained() -> dict[str, object]:
    """Return what a trainer saves beside a state dict."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    # As Adam returns it; the import of an optimizer takes seconds.
    moments = {"step": torch.tensor(1.0), "exp_avg": torch.ones(4), "exp_avg_sq": torch.ones(4)}
    group = {"lr": 1e-3, "betas": (0.9, 0.999), "foreach": None, "fused": False, "params": [0, 1]}
    return {
        "state_dict": network.state_dict(),
        "optimizer": {"state": {0: moments, 1: moments}, "param_groups": [group]},
        "epoch": 3,
        "best": 0.5,
        "name": "own",
        "size": torch.Size([1, 2]),
        "device": torch.device("cpu"),
        "dtype": torch.float16,
        "steps": [1, (2, 3), {"a": None, 4: True}],
        "seen": {1, 2},
        "big": 2**70,
    }


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_the_tensors_are_those_that_torch_reads(
    tmp_path: Path, protocol: int, *, is_zip: bool
) -> None:
    path = tmp_path / "own.pth"
    for content in (state(), OrderedDict(state()), {"state_dict": state()}, trained()):
        torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=is_zip)
        expected = torch.load(path, weights_only=False)
        expected = expected.get("state_dict", expected)
        tensors = read_state_dict(path)
        assert tensors.keys() == expected.keys()
        for name, tensor in tensors.items():
            assert tensor.dtype == expected[name].dtype
            assert torch.equal(tensor, expected[name])


BESIDE = {
    "epoch": np.int64(3),
    "loss": np.float64(0.5),
    "best": np.float32(0.5),
    "improved": np.bool_(1),
    "curve": np.arange(3.0),
    "generator": np.random.RandomState(1).get_state(),
    "python": random.Random(1).getstate(),
    "torch": torch.get_rng_state(),
    "args": argparse.Namespace(lr=0.1, folder=PurePosixPath("runs"), size=[1024, 1024]),
    "folder": Path("runs/1"),
    "at": datetime(2024, 2, 3, tzinfo=UTC),
    "took": timedelta(hours=3),
    "history": defaultdict(list, {"loss": [0.5]}),
    "last": deque([1, 2], maxlen=2),
    "run": UUID(int=7),
    "lr": Decimal("0.1"),
    "scaler": {"scale": 65536.0, "_growth_tracker": 0},
    "dtype": torch.complex64,
    "indices": (slice(3), range(3), 1j),
    4: "a key that is not a text",
}
"""Values that trainers save beside a state dict."""


@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_values_beside_a_state_dict_are_not_read(
    tmp_path: Path, name: str | int, protocol: int, *, is_zip: bool
) -> None:
    content = {name: BESIDE[name], "state_dict": {"w": torch.arange(3.0)}}
    path = tmp_path / "own.pt"
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=is_zip)
    tensors = read_state_dict(path)
    assert tensors.keys() == {"w"}
    assert torch.equal(tensors["w"], torch.arange(3.0))


def test_a_state_dict_may_be_in_a_defaultdict(tmp_path: Path) -> None:
    torch.save(defaultdict(dict, state_dict={"w": torch.ones(1)}), tmp_path / "own.pt")
    assert read_state_dict(tmp_path / "own.pt").keys() == {"w"}


class Config:
    """A class of a trainer."""


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"state_dict": {}, "config": Config()}, r"names tests\.unit\.test_checkpoint\.Config"),
        (nn.Linear(1, 1), r"names torch\.nn\.modules\.linear\.Linear"),
        ({"model_state_dict": {"w": torch.ones(1)}}, "a dictionary at 'model_state_dict'"),
        ({"w": torch.ones(1), "epoch": np.int64(1)}, "another object at 'epoch'"),
        ({"w": torch.ones(1), "extra": None}, "type NoneType at 'extra'"),
        ([{"w": torch.ones(1)}], "type list"),
        (torch.ones(1), "one tensor"),
        ({"w": torch.ones(1, dtype=torch.uint16)}, "another object at 'w'"),
    ],
)
def test_a_refusal_says_what_to_save(tmp_path: Path, content: object, found: str) -> None:
    torch.save(content, tmp_path / "own.pth")
    with pytest.raises((ModelInvalid, ValueError), match=found) as error:
        read_state_dict(tmp_path / "own.pth")
    assert "torch.save(network.state_dict(), path)" in str(error.value)


@pytest.mark.parametrize("view", [torch._neg_view(torch.ones(3)), torch.ones(3).to(torch.cfloat)])
def test_a_view_that_changes_its_numbers_is_refused(tmp_path: Path, view: Tensor) -> None:
    torch.save({"w": view.conj()}, tmp_path / "own.pth")
    with pytest.raises(ModelInvalid, match="a conjugate or negative view"):
        read_state_dict(tmp_path / "own.pth")


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_prefix_of_a_wrapper_is_removed(tmp_path: Path, suffix: str, prefix: str) -> None:
    path = tmp_path / f"own{suffix}"
    content = {f"{prefix}a": torch.ones(2), f"{prefix}b": torch.zeros(3)}
    if suffix == ".pth":
        torch.save(content, path)
    else:
        save_file(content, path)
    assert read_state_dict(path).keys() == {"a", "b"}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_shapes_are_checked_before_tensors_are_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"own{suffix}"
    if suffix == ".pth":
        torch.save({"w": torch.zeros(3, 4)}, path)
    else:
        save_file({"w": torch.zeros(3, 4)}, path)

    def check(shapes: object) -> None:
        assert shapes == {"w": (3, 4)}
        raise ValueError("another network")

    with pytest.raises(ValueError, match="another network"):
        read_state_dict(path, check=check)


def test_a_view_with_gaps_is_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(8, 8)[:, ::2]}, tmp_path / "own.pth")
    with pytest.raises(ModelInvalid, match=r"a view with gaps; .* contiguous"):
        read_state_dict(tmp_path / "own.pth")


def test_hostile_checkpoints_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would take from minutes to centuries, or more memory than there is, in `torch.load`."""
    # Several files take as long as they may; a tenth of it shows the same.
    monkeypatch.setattr(state_pickle, "MAX_OPCODES", state_pickle.MAX_OPCODES // 10)
    refused = 0
    for file in checkpoints.attacks():
        path = tmp_path / f"own{Path(file.name).suffix}"
        path.write_bytes(file.data)
        with pytest.raises(ModelInvalid) as error:
            load_torch_engine(path, device="cpu", threads=0)
        assert len(str(error.value)) < 1_000, file.name
        refused += 1
    assert refused > 90


@pytest.mark.parametrize(
    ("name", "view"), [item for item in checkpoints.tensors() if item[0] != "expanded"]
)
def test_a_tensor_that_its_data_does_not_hold_is_refused(
    tmp_path: Path, name: str, view: bytes
) -> None:
    path = tmp_path / f"{name}.pth"
    path.write_bytes(checkpoints.archive(checkpoints.entry(checkpoints.text("w"), view)))
    with pytest.raises((ModelInvalid, ValueError), match="found"):
        read_state_dict(path)


def test_an_expanded_tensor_takes_no_memory(tmp_path: Path) -> None:
    view = dict(checkpoints.tensors())["expanded"]
    path = tmp_path / "own.pth"
    path.write_bytes(checkpoints.archive(checkpoints.entry(checkpoints.text("w"), view)))
    tensor = read_state_dict(path)["w"]
    assert tensor.shape == (10**6, 10**6)
    assert tensor.untyped_storage().nbytes() == 4


def test_an_archive_without_its_beginning_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "whole.pth"
    torch.save(state(), path)
    data = path.read_bytes()
    start = data.find(b"PK\3\4", 4)
    while start > 0:
        (tmp_path / "rest.pth").write_bytes(data[start:])
        with pytest.raises(ModelInvalid):
            read_state_dict(tmp_path / "rest.pth")
        start = data.find(b"PK\3\4", start + 4)
