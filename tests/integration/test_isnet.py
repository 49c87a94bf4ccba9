"""The PyTorch network with the real weights."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from skimage import data
from skimage.transform import resize
from torch import Tensor

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
    """Return a person before a busy background: (1, 3, 1024, 1024), values -0.5…0.5."""
    image = resize(data.astronaut(), (1024, 1024), order=1, anti_aliasing=False)
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None] - 0.5, dtype=np.float32)


def noise(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) - 0.5


@torch.inference_mode()
def test_equals_the_onnx_export_on_a_photograph(
    isnet_onnx: Path, network: ISNetBase, photograph: NDArray[np.float32]
) -> None:
    session = onnxruntime.InferenceSession(isnet_onnx, providers=["CPUExecutionProvider"])
    expected = session.run(["output"], {"input": photograph})[0]
    saliency = network.saliency(torch.from_numpy(photograph)).numpy()
    # 4.1e-4 was measured, all of it from the export's half-precision activations: with the
    # export converted to float32 it is 4e-6.
    np.testing.assert_allclose(saliency, expected, rtol=0, atol=1e-3)
    assert 0.2 < (saliency > 0.5).mean() < 0.8  # The astronaut is foreground, the rest is not.


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
