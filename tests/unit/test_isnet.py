"""The network against the published figures and against its own ONNX export."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from skimage import data
from skimage.transform import resize
from torch import Tensor, nn

from worker.models.engines.torch.isnet import ISNetBase, ISNetDIS, network_for


@pytest.fixture(scope="module")
def state(isnet_pth: Path) -> dict[str, Tensor]:
    loaded: dict[str, Tensor] = torch.load(isnet_pth, map_location="cpu", weights_only=True)
    return loaded


@pytest.fixture(scope="module")
def network(state: dict[str, Tensor]) -> ISNetBase:
    return network_for(state)


@pytest.fixture(scope="module")
def photograph() -> NDArray[np.float32]:
    """A person before a busy background: (1, 3, 1024, 1024), 0…1 less 0.5."""
    image = resize(data.astronaut(), (1024, 1024), order=1, anti_aliasing=False)
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None] - 0.5, dtype=np.float32)


def noise(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) - 0.5


def test_size_is_the_published_one() -> None:
    with torch.device("meta"):
        network = ISNetDIS()
    assert sum(isinstance(module, nn.Conv2d) for module in network.modules()) == 119
    assert sum(parameter.numel() for parameter in network.parameters()) == 44_046_790


def test_names_are_those_of_the_public_checkpoint() -> None:
    with torch.device("meta"):
        names = ISNetDIS().state_dict().keys()
    assert len(names) == 14 + 112 * 7  # seven plain convolutions; 112 with BatchNorm
    assert {"conv_in.weight", "stage1.rebnconv7.conv_s1.bias", "side6.bias"} <= names
    assert {"stage1d.rebnconv6d.bn_s1.running_var", "stage5d.rebnconv1d.bn_s1.weight"} <= names


@torch.inference_mode()
def test_equals_the_onnx_export_on_a_photograph(
    isnet_onnx: Path, network: ISNetBase, photograph: NDArray[np.float32]
) -> None:
    session = onnxruntime.InferenceSession(isnet_onnx, providers=["CPUExecutionProvider"])
    expected = session.run(["output"], {"input": photograph})[0]
    found = network.saliency(torch.from_numpy(photograph)).numpy()
    # 4.1e-4 was measured, all of it from the export's half-precision activations: with the
    # export converted to float32 it is 4e-6.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)
    assert 0.2 < (found > 0.5).mean() < 0.8  # the astronaut was found, and is not everything


@torch.inference_mode()
def test_saliency_is_the_first_of_twelve_outputs(network: ISNetBase) -> None:
    image = noise(1, 3, 200, 136)
    assert isinstance(network, ISNetDIS)
    maps, features = network(image)
    torch.testing.assert_close(network.saliency(image), maps[0], rtol=0, atol=0)
    assert [tuple(side.shape) for side in maps] == [(1, 1, 200, 136)] * 6
    assert [feature.shape[1] for feature in features] == [64, 64, 128, 256, 512, 512]
    assert all(side.min() >= 0 and side.max() <= 1 for side in maps)


@torch.inference_mode()
def test_base_network_gives_the_same_map(state: dict[str, Tensor], network: ISNetBase) -> None:
    others = tuple(f"side{number}." for number in range(2, 7))
    base = network_for({name: t for name, t in state.items() if not name.startswith(others)})
    image = noise(2, 3, 128, 128)
    assert type(base) is ISNetBase
    torch.testing.assert_close(base(image), network.saliency(image), rtol=0, atol=0)


@pytest.mark.parametrize("size", [(32, 32), (33, 97), (1, 1)])
@torch.inference_mode()
def test_takes_any_size(network: ISNetBase, size: tuple[int, int]) -> None:
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
