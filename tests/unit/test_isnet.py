"""The PyTorch network: its published size and names, and the checkpoints that it refuses."""

import pytest
import torch
from torch import Tensor, nn

from tests.support.random_isnet import random_state
from worker.models.engines.torch.isnet import ISNetBase, ISNetDIS, network_for


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return random_state()


@pytest.fixture(scope="module")
def network(state: dict[str, Tensor]) -> ISNetBase:
    return network_for(state)


def noise(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) - 0.5


def test_size_equals_the_published_one() -> None:
    with torch.device("meta"):
        network = ISNetDIS()
    assert sum(isinstance(module, nn.Conv2d) for module in network.modules()) == 119
    assert sum(parameter.numel() for parameter in network.parameters()) == 44_046_790


def test_names_equal_those_of_the_public_checkpoint() -> None:
    with torch.device("meta"):
        names = ISNetDIS().state_dict().keys()
    assert len(names) == 14 + 112 * 7  # seven plain convolutions; 112 with BatchNorm
    assert {"conv_in.weight", "stage1.rebnconv7.conv_s1.bias", "side6.bias"} <= names
    assert {"stage1d.rebnconv6d.bn_s1.running_var", "stage5d.rebnconv1d.bn_s1.weight"} <= names


@pytest.mark.parametrize("size", [(32, 32), (33, 97), (1, 1)])
@torch.inference_mode()
def test_any_input_size_is_accepted(network: ISNetBase, size: tuple[int, int]) -> None:
    assert network.saliency(noise(1, 3, *size)).shape == (1, 1, *size)


def test_network_is_in_evaluation_mode_and_float32(state: dict[str, Tensor]) -> None:
    halved = {name: t.half() if t.is_floating_point() else t for name, t in state.items()}
    network = network_for(halved)
    assert not any(module.training for module in network.modules())
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_batch_counters_may_be_missing(state: dict[str, Tensor]) -> None:
    kept = {name: t for name, t in state.items() if not name.endswith("num_batches_tracked")}
    network = network_for(kept)
    assert network.stage1.rebnconvin.bn_s1.num_batches_tracked == 0


def test_tensors_without_numbers_are_refused(state: dict[str, Tensor]) -> None:
    empty = state | {"conv_in.bias": torch.empty(64, device="meta")}
    with pytest.raises(ValueError, match=r"(?s)expected dense tensors .*conv_in\.bias"):
        network_for(empty)


def test_error_names_what_does_not_fit(state: dict[str, Tensor]) -> None:
    wrong = dict(state)
    for name in ("conv_in.weight", "conv_in.bias", "side1.weight", "side3.bias"):
        del wrong[name]
    wrong["head.weight"] = torch.zeros(1)
    wrong["side2.weight"] = torch.zeros(2, 64, 3, 3)
    with pytest.raises(ValueError, match="ISNetDIS") as caught:
        network_for(wrong)
    sentence = str(caught.value)
    assert "4 missing (conv_in.weight, conv_in.bias, side1.weight, …)" in sentence
    assert "1 unexpected (head.weight)" in sentence
    assert "1 of another shape (side2.weight (2, 64, 3, 3) instead of (1, 64, 3, 3))" in sentence
