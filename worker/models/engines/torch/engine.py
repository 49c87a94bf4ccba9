"""Run ISNet checkpoints in PyTorch: in float32 on the CPU, in half precision on a CUDA device."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from worker.errors import ModelInvalid
from worker.models.engines.batch_sizes import padded
from worker.models.engines.device_error import translate_errors
from worker.models.engines.engine import EngineFacts
from worker.models.engines.torch.checkpoint import read_state_dict
from worker.models.engines.torch.isnet import ISNetBase, network_for, unloaded_network_for
from worker.models.engines.torch.segmenter import TorchSegmenter
from worker.models.watchdog import Watch


class TorchEngine:
    """ISNet on one device."""

    input_size = (None, None)  # Fully convolutional.

    def __init__(self, network: ISNetBase, *, max_batch: int = 1) -> None:
        """`network` is on its device, in evaluation mode."""
        weight = network.conv_in.weight
        self.facts = EngineFacts(
            engine="torch",
            provider=f"torch-{weight.device.type}",
            device=str(weight.device),
            dtype=str(weight.dtype).removeprefix("torch."),
        )
        self.bytes = sum(
            tensor.numel() * tensor.element_size() for tensor in network.state_dict().values()
        )
        self._network: ISNetBase | None = network
        self.max_batch = max_batch
        self.segmenter = None if weight.device.type == "cpu" else self.build_segmenter()

    def build_segmenter(self) -> TorchSegmenter:
        """Return a segmenter on the engine's device, even on a CPU."""
        return TorchSegmenter(
            self._saliency,
            device=torch.device(self.facts.device),
            max_batch=self.max_batch,
            translate_errors=self._translate_errors,
        )

    def infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the saliency maps (side output d1), each value in 0…1; see `Engine.infer`."""
        if batch.ndim != 4 or batch.shape[1] != 3 or 0 in batch.shape:
            raise ValueError(f"expected a batch of shape (N, 3, H, W), found {batch.shape}")
        images = padded(batch, self.max_batch)
        with self._translate_errors(f"an input of {images.shape}"), torch.inference_mode():
            # torch.tensor copies, so that a read-only array is allowed.
            maps: NDArray[np.float32] = self._saliency(torch.tensor(images)).cpu().numpy()
        return maps[: len(batch)]

    def close(self) -> None:
        """Free the network's memory as soon as a running inference is done."""
        self._network = None
        if self.segmenter is not None:
            self.segmenter.close()
        if self.facts.device != "cpu":
            torch.cuda.empty_cache()

    def _saliency(self, images: Tensor) -> Tensor:
        """Return maps (N, H, W), float32 and on the device, of prepared images (N, 3, H, W)."""
        network = self._network
        if network is None:
            raise RuntimeError("this engine is closed; load the model again")
        weight = network.conv_in.weight
        images = images.to(weight.device, weight.dtype, memory_format=torch.channels_last)
        return network.saliency(images)[:, 0].float()

    def _translate_errors(self, image_input: str) -> AbstractContextManager[None]:
        return translate_errors(f"ISNet on {image_input}", device=self.facts.device)


def load_torch_engine(
    path: Path, *, device: str, threads: int, max_batch: int = 1, watch: Watch = nullcontext
) -> TorchEngine:
    """Load an ISNet checkpoint.

    On CUDA the convolutions run in half precision and BatchNorm in float32. On the CPU everything
    runs in float32, whatever types the checkpoint has. Tensors are in channels-last layout.

    `device` is `cpu`, `cuda` or `cuda:<index>`. `threads` are torch's in the whole process; 0
    leaves their number unchanged.

    Raises `ModelInvalid` for a file that is damaged, contains code or is not a checkpoint of ISNet,
    `OSError` when it cannot be opened, `DeviceOutOfMemory`, `DeviceLost`, `RuntimeError` when torch
    finds no such CUDA device, and `ValueError` for another device.
    """
    target = _device(device)
    if threads > 0:
        torch.set_num_threads(threads)
    try:
        network = network_for(read_state_dict(path, check=unloaded_network_for))
    except ValueError as error:
        raise ModelInvalid(f"{path.name} is not a checkpoint of ISNet: {error}") from error
    if target.type == "cuda":
        halve_precision(network)
        # cuDNN times all algorithms once for each shape. There are few: the batch sizes.
        torch.backends.cudnn.benchmark = True
    with (
        watch(f"loading {path.name} on {device}"),
        translate_errors(f"loading {path.name}", device=device),
    ):
        network.to(target)
        # Tensor cores need this layout; on the CPU it was a quarter faster too, with the same
        # result. torch's stubs lack this documented form of `to`.
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return TorchEngine(network, max_batch=max_batch)


def halve_precision(network: nn.Module) -> None:
    """Convert the convolutions to float16, in place, and leave every BatchNorm in float32.

    BatchNorm's eps of 1e-5 is below the smallest normal float16, 6e-5. torch's batch_norm accepts
    float16 inputs with float32 parameters and returns float16, so no casts are needed.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.half()


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in {"cpu", "cuda"}:
        raise ValueError(f"expected the device cpu, cuda or cuda:<index>, found {name!r}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise RuntimeError(
            f"expected the device {name}, but torch {torch.__version__} finds "
            f"{torch.cuda.device_count()} CUDA devices; check the driver, and that this is not "
            "the CPU build of torch"
        )
    return device
