"""ISNet checkpoints in PyTorch, on the CPU in float32 or on a CUDA device in half precision."""

import errno
import pickle
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from worker.errors import ModelInvalid
from worker.models.engines.batch_sizes import rung
from worker.models.engines.device_error import device_error
from worker.models.engines.engine import EngineFacts
from worker.models.engines.torch.isnet import ISNetBase, network_for
from worker.models.engines.torch.on_device import Network, TorchPictures
from worker.models.watchdog import Watching, unwatched

__all__ = ["TorchEngine", "halve_precision", "load"]

# How torch's weights-only reader names the function or class that it refuses to look up.
_REFUSED_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")


class TorchEngine:
    """ISNet in torch on one device.

    Args:
        network: the network, on its device, in evaluation mode.
        most: images it is given at once, of which it is told the sizes of the ladder.
    """

    facts: EngineFacts
    input_size: tuple[int | None, int | None]
    bytes: int
    pictures: TorchPictures | None
    most: int

    def __init__(self, network: ISNetBase, *, most: int = 1) -> None:
        weight = network.conv_in.weight
        self.input_size = (None, None)  # fully convolutional
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
        self.most = most
        self.pictures = None if weight.device.type == "cpu" else self.on_pictures()

    def on_pictures(self) -> TorchPictures:
        """Its way from pictures to masks on its device, be it a CPU."""
        return TorchPictures(
            Network(
                run=self._saliency,
                device=torch.device(self.facts.device),
                speaking=self._speaking,
                most=self.most,
            )
        )

    def infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute the saliency maps (side output d1) of prepared images.

        Args:
            batch: float32 of shape (N, 3, H, W), normalised as the model's profile says.

        Returns:
            Saliency maps, float32 of shape (N, H, W), each value in 0…1.

        Raises:
            ValueError: the batch is not of shape (N, 3, H, W).
            RuntimeError: the engine is closed.
            DeviceOutOfMemory: the batch does not fit into the device's memory.
            DeviceLost: the device takes no more calls of this process.
        """
        if batch.ndim != 4 or batch.shape[1] != 3 or 0 in batch.shape:
            raise ValueError(f"expected a batch of shape (N, 3, H, W), found {batch.shape}")
        if missing := rung(len(batch), self.most) - len(batch):
            padding = np.zeros((missing, *batch.shape[1:]), np.float32)
            images = np.concatenate([batch, padding])
        else:
            images = np.ascontiguousarray(batch)
        with self._speaking(f"an input of {images.shape}"), torch.inference_mode():
            # torch.tensor copies, so a read-only array does no harm.
            maps = self._saliency(torch.tensor(images)).cpu().numpy()
        found: NDArray[np.float32] = maps[: len(batch)]
        return found

    def close(self) -> None:
        """Give the network's memory back, once a running inference is done."""
        self._network = None
        if self.pictures is not None:
            self.pictures.close()
        if self.facts.device != "cpu":
            torch.cuda.empty_cache()

    def _saliency(self, images: Tensor) -> Tensor:
        """Maps (N, H, W), float32, of prepared images (N, 3, H, W); the maps are on the device."""
        network = self._network
        if network is None:
            raise RuntimeError("this engine is closed; load the model again")
        weight = network.conv_in.weight
        images = images.to(weight.device, weight.dtype, memory_format=torch.channels_last)
        return network.saliency(images)[:, 0].float()

    @contextmanager
    def _speaking(self, what: str) -> Iterator[None]:
        """Say of an error on `what` the network is given that it is the device's, if it is."""
        try:
            yield
        except Exception as error:
            doing = f"ISNet on {what}"
            found = device_error(error, doing=doing, device=self.facts.device)
            if found is None:
                raise
            raise found from error


def load(
    path: Path, *, device: str, threads: int, most: int = 1, watching: Watching = unwatched
) -> TorchEngine:
    """Load an ISNet checkpoint.

    On CUDA the convolutions run in half precision and BatchNorm keeps float32. On the CPU
    everything runs in float32, whatever the checkpoint holds. Tensors are laid out channels last.

    Args:
        path: a ``.pth`` or ``.pt`` file of tensors alone, or a ``.safetensors`` file.
        device: ``cpu``, ``cuda`` or ``cuda:<index>``.
        threads: CPU threads that torch may use, in the whole process; 0 leaves them as they are.
        most: images that a GPU is given at once.
        watching: bounds what the device does.

    Raises:
        ModelInvalid: the file is damaged, holds code, or is not a checkpoint of ISNet.
        OSError: the file cannot be opened.
        DeviceOutOfMemory: the network does not fit into the device's memory.
        DeviceLost: the device takes no more calls of this process.
        RuntimeError: torch sees no such CUDA device.
        ValueError: the device is of another kind.
    """
    target = _device(device)
    if threads > 0:
        torch.set_num_threads(threads)
    try:
        network = network_for(_state_dict(_read(path)))
    except ValueError as error:
        raise ModelInvalid(f"{path.name} is not a checkpoint of ISNet: {error}") from error
    if target.type == "cuda":
        halve_precision(network)
        # cuDNN tries each convolution in every way, once for a shape: there are few, the ladder's.
        torch.backends.cudnn.benchmark = True
    with watching(f"loading {path.name} on {device}"):
        try:
            network.to(target)
            # What tensor cores want; on the CPU it was a quarter faster too, with the same result.
            # torch's stubs leave this documented form of `to` out.
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        except Exception as error:
            found = device_error(error, doing=f"loading {path.name}", device=device)
            if found is None:
                raise
            raise found from error
    return TorchEngine(network, most=most)


def halve_precision(network: nn.Module) -> None:
    """Turn the convolutions to float16, in place, and leave every BatchNorm in float32.

    Its eps of 1e-5 lies below the smallest normal float16, 6e-5. torch's batch_norm takes half
    inputs with float32 parameters and returns half, so nothing needs a cast in between.
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
            f"expected the device {name}, but torch {torch.__version__} sees "
            f"{torch.cuda.device_count()} CUDA devices; check the driver, and that this is not "
            "the CPU build of torch"
        )
    return device


def _read(path: Path) -> object:
    """Read a checkpoint without running anything in it. Raises ModelInvalid, OSError."""
    if path.suffix not in {".pth", ".pt", ".safetensors"}:
        raise ModelInvalid(f"expected a .pth, .pt or .safetensors file, found {path.name}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = _REFUSED_GLOBAL.search(str(error))
        if refused is None:
            raise ModelInvalid(_unreadable(path)) from error
        raise ModelInvalid(
            f"{path.name} holds code and not only tensors: its pickle names {refused[1]}. It was "
            "not run, and never is; save the network's state dict alone"
        ) from error
    except MemoryError:
        raise
    except OSError as error:
        # A zip that lost its end makes torch seek to before its start, which is EINVAL.
        if error.errno != errno.EINVAL:
            raise
        raise ModelInvalid(_unreadable(path)) from error
    except Exception as error:  # damaged bytes end in nearly any error: EOF, Runtime, Key, …
        raise ModelInvalid(_unreadable(path)) from error


def _unreadable(path: Path) -> str:
    return (
        f"{path.name} ({path.stat().st_size} bytes) cannot be read: it is cut short or damaged, "
        "or was never a checkpoint of tensors alone; fetch it again and compare its hash"
    )


def _state_dict(checkpoint: object) -> dict[str, Tensor]:
    """The tensors by name, out of a nested ``state_dict`` and without DataParallel's prefix."""
    if isinstance(checkpoint, Mapping) and "state_dict" in checkpoint:
        checkpoint = checkpoint["state_dict"]
    if not isinstance(checkpoint, Mapping):
        raise ValueError(  # noqa: TRY004 - a wrong file, not a wrong call
            f"expected names with tensors, found a {type(checkpoint).__name__}"
        )
    tensors: dict[str, Tensor] = {}
    for name, value in checkpoint.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ValueError(  # noqa: TRY004 - likewise
                f"expected only tensors, found a {type(value).__name__} at {name!r}"
            )
        tensors[name] = value
    if tensors and all(name.startswith("module.") for name in tensors):
        return {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors
