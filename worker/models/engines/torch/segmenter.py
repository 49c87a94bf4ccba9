"""A segmenter in torch: the steps of `onnx.conversion_graphs` around ISNet."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.imaging.lanczos import ROUNDING_MARGIN
from worker.imaging.masks import SALIENCY_THRESHOLD
from worker.models.engines.batch_sizes import padded_batch_size
from worker.models.engines.segmenter import BaseSegmenter, Conversion, DeviceImage, DeviceMask

__all__ = ["Network", "TorchSegmenter"]


class Network(NamedTuple):
    """A network, as the segmenter needs it."""

    run: Callable[[Tensor], Tensor]
    """Returns saliency maps (N, h, w) of prepared images (N, 3, H, W), float32, on the device."""
    device: torch.device
    translate_errors: Callable[[str], AbstractContextManager[None]]
    """Makes a context manager that raises `DeviceOutOfMemory` or `DeviceLost`."""
    max_batch: int


class TorchSegmenter(BaseSegmenter):
    """See `segmenter.DeviceSegmenter`. It also runs on a CPU, but only tests use that."""

    def __init__(self, network: Network) -> None:
        self._network = network
        super().__init__(max_batch=network.max_batch, translate_errors=network.translate_errors)
        # Not the network's stream, where an upload would wait for another image's inference.
        self._upload_stream = _new_stream(network.device)

    @torch.inference_mode()
    def _masks(self, images: Sequence[DeviceImage], conversion: Conversion) -> list[DeviceMask]:
        device, (width, height) = self._network.device, conversion.size
        batch_size = padded_batch_size(len(images), self._network.max_batch)
        batch = torch.zeros((batch_size, 3, height, width), device=device)
        scale = torch.tensor(conversion.scale, device=device)
        offset = torch.tensor(conversion.offset, device=device)
        for index, image in enumerate(images):
            levels = resized_levels(
                image.pixels,
                vertical=self._matrices.vertical(image.height, height),
                horizontal=self._matrices.horizontal(image.width, width),
            )
            batch[index] = (levels * scale + offset)[conversion.channel_order.tolist()]
        maps = self._network.run(batch)
        return [
            mask_of(
                saliency,
                vertical=self._matrices.vertical(saliency.shape[0], image.height),
                horizontal=self._matrices.horizontal(saliency.shape[1], image.width),
                conversion=conversion,
            )
            for saliency, image in zip(maps, images, strict=False)
        ]

    def _copy_to_device(self, array: NDArray[Any]) -> Tensor:
        if self._upload_stream is None:
            return torch.tensor(array)
        with torch.cuda.stream(self._upload_stream):
            # Only a copy from pinned memory overlaps with the network's kernels.
            pinned = torch.tensor(array).pin_memory()
            tensor = pinned.to(self._network.device, non_blocking=True)
        self._upload_stream.synchronize()
        # Without this the allocator could reuse the memory for the next upload while the network's
        # stream still reads it.
        tensor.record_stream(torch.cuda.default_stream(self._network.device))
        return tensor


def resized_levels(image: Tensor, *, vertical: Tensor, horizontal: Tensor) -> Tensor:
    """Return an image uint8 (H, W, 3) resized to (3, h, w): float32, integer values of 0…255.

    `vertical` is (h, H), `horizontal` (W, w).
    """
    # The height first: with interleaved colours the image is a matrix (H, 3·W), so that the large
    # image need not be transposed. The other order would save at most a tenth of the
    # multiplications.
    rows = vertical @ image.float().flatten(1)
    planes = rows.view(len(vertical), -1, 3).permute(2, 0, 1)
    # A resized image has integer values of 0…255 again; LANCZOS overshoots at edges.
    return torch.round((planes @ horizontal).clamp(0, 255))


def mask_of(
    saliency: Tensor, *, vertical: Tensor, horizontal: Tensor, conversion: Conversion
) -> DeviceMask:
    """Return the mask (H, W) of a float32 saliency map (h, w).

    `vertical` is (H, h), `horizontal` (w, W).
    """
    is_finite = saliency.isfinite().all()
    if conversion.sigmoid:
        saliency = saliency.sigmoid()
    minimum, maximum = saliency.aminmax()
    has_foreground = maximum > SALIENCY_THRESHOLD
    if conversion.stretch:
        has_foreground = has_foreground & (maximum - minimum >= 1 / 255)
        saliency = (saliency - minimum) / (maximum - minimum)
    saliency = torch.where(has_foreground, saliency, torch.zeros_like(saliency))
    # Rounding must not push a full mask just below 255, see `worker.imaging.upsample`.
    levels = (vertical @ (saliency @ horizontal) + float(ROUNDING_MARGIN)) * 255
    mask = levels.clamp(0, 255).to(torch.uint8)
    statistics = torch.stack([minimum, maximum, is_finite.float()]).tolist()
    return DeviceMask(mask.cpu().numpy(), statistics[0], statistics[1], statistics[2] == 1)


def _new_stream(device: torch.device) -> torch.cuda.Stream | None:
    if device.type == "cpu":
        return None
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's stub
