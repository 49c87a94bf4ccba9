"""A segmenter in torch: the steps of `onnx.conversion_graphs` around ISNet."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.imaging.lanczos import ROUNDING_MARGIN
from worker.imaging.masks import SALIENCY_THRESHOLD
from worker.models.engines.batch_sizes import padded_batch_size
from worker.models.engines.segmenter import BaseSegmenter, Conversion, DeviceImage, DeviceMask
from worker.models.files.profile import FULL_RANGE


class TorchSegmenter(BaseSegmenter):
    """See `segmenter.DeviceSegmenter`. It also runs on a CPU, but only tests use that."""

    def __init__(
        self,
        run: Callable[[Tensor], Tensor],
        *,
        device: torch.device,
        max_batch: int,
        translate_errors: Callable[[str], AbstractContextManager[None]],
    ) -> None:
        """`run` returns maps (N, h, w) of images (N, 3, H, W), both float32 and on `device`."""
        super().__init__(max_batch=max_batch, translate_errors=translate_errors)
        self._run = run
        self._device = device
        # Not the network's stream, where an upload would wait for another image's inference.
        self._upload_stream = None
        if device.type != "cpu":
            self._upload_stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's stub

    @torch.inference_mode()
    def _masks(self, images: Sequence[DeviceImage], conversion: Conversion) -> list[DeviceMask]:
        width, height = conversion.size
        batch_size = padded_batch_size(len(images), self._max_batch)
        batch = torch.zeros((batch_size, 3, height, width), device=self._device)
        scale = torch.tensor(conversion.scale, device=self._device)
        offset = torch.tensor(conversion.offset, device=self._device)
        for index, image in enumerate(images):
            matrices = self._resize_matrices(image.size, conversion.size)
            levels = resized_levels(image.pixels, *matrices)
            batch[index] = (levels * scale + offset)[conversion.channel_order.tolist()]
        maps = self._run(batch)
        map_size = (maps.shape[2], maps.shape[1])
        return [
            mask_of(saliency, *self._resize_matrices(map_size, image.size), conversion)
            for saliency, image in zip(maps, images, strict=False)
        ]

    def _copy_to_device(self, array: NDArray[Any]) -> Tensor:
        if self._upload_stream is None:
            return torch.tensor(array)
        with torch.cuda.stream(self._upload_stream):
            # Only a copy from pinned memory overlaps with the network's kernels.
            pinned = torch.tensor(array).pin_memory()
            tensor = pinned.to(self._device, non_blocking=True)
        self._upload_stream.synchronize()
        # Without this the allocator could reuse the memory for the next upload while the network's
        # stream still reads it.
        tensor.record_stream(torch.cuda.default_stream(self._device))
        return tensor


def resized_levels(image: Tensor, vertical: Tensor, horizontal: Tensor) -> Tensor:
    """Return an image uint8 (H, W, 3) as (3, h, w), float32 with integer values of 0…255."""
    # Why the height comes first, and why levels are clamped: see `onnx.conversion_graphs`.
    rows = vertical @ image.float().flatten(1)
    planes = rows.view(len(vertical), -1, 3).permute(2, 0, 1)
    return torch.round((planes @ horizontal).clamp(0, 255))


def mask_of(
    saliency: Tensor, vertical: Tensor, horizontal: Tensor, conversion: Conversion
) -> DeviceMask:
    """Return the mask (H, W) of a map (h, w); `vertical` is (H, h), `horizontal` (w, W)."""
    is_finite = saliency.isfinite().all()
    if conversion.sigmoid:
        saliency = saliency.sigmoid()
    low, high = conversion.range
    if conversion.range != FULL_RANGE:
        saliency = (saliency - low) / (high - low)
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
