"""Pictures in, masks out, in torch: what `worker.models.engines.onnx.steps` does, around ISNet."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.imaging.lanczos import ROUNDING_MARGIN
from worker.imaging.masks import SALIENCY_THRESHOLD
from worker.models.engines.batch_sizes import rung
from worker.models.engines.on_device import OnDevice, Reading, Seen, Uploaded

__all__ = ["Network", "TorchPictures"]


class Network(NamedTuple):
    """A network, as the steps around it need it."""

    run: Callable[[Tensor], Tensor]
    """Maps (N, h, w), float32, of prepared images (N, 3, H, W), float32, on the device."""
    device: torch.device
    speaking: Callable[[str], AbstractContextManager[None]]
    """Makes a block whose errors are the device's where they are."""
    most: int
    """Images it is given at once, at most."""


class TorchPictures(OnDevice):
    """See `worker.models.engines.on_device.Pictures`. Also runs on a CPU, for tests alone."""

    def __init__(self, network: Network) -> None:
        self._network = network
        super().__init__(most=network.most, speaking=network.speaking)
        # Beside the stream of the network, whose turn another picture has.
        self._uploads = _stream(network.device)

    @torch.inference_mode()
    def _masks(self, pictures: Sequence[Uploaded], reading: Reading) -> list[Seen]:
        device, (width, height) = self._network.device, reading.size
        images = rung(len(pictures), self._network.most)
        batch = torch.zeros((images, 3, height, width), device=device)
        scale, offset = (torch.tensor(of, device=device) for of in (reading.scale, reading.offset))
        for number, picture in enumerate(pictures):
            small = squashed(
                picture.pixels,
                down=self._matrices.down(picture.height, height),
                across=self._matrices.across(picture.width, width),
            )
            batch[number] = (small * scale + offset)[reading.order.tolist()]
        maps = self._network.run(batch)
        return [
            seen(
                map_,
                down=self._matrices.down(map_.shape[0], picture.height),
                across=self._matrices.across(map_.shape[1], picture.width),
                reading=reading,
            )
            for map_, picture in zip(maps, pictures, strict=False)
        ]

    def _put(self, array: NDArray[Any]) -> Tensor:
        if self._uploads is None:
            return torch.tensor(array)
        with torch.cuda.stream(self._uploads):
            # Only from pinned memory does a copy run beside the network's kernels.
            there = torch.tensor(array).pin_memory().to(self._network.device, non_blocking=True)
        self._uploads.synchronize()
        # Its memory is the uploads' again only when the network's stream has done with it.
        there.record_stream(torch.cuda.default_stream(self._network.device))
        return there


def squashed(picture: Tensor, *, down: Tensor, across: Tensor) -> Tensor:
    """A picture uint8 (H, W, 3) as levels (3, h, w), float32; `down` (h, H), `across` (W, w)."""
    # Height first: with its colours side by side a row is one long row, and the large picture need
    # not be transposed. The other order would save a tenth of the product at most.
    rows = down @ picture.float().flatten(1)
    planes = rows.view(len(down), -1, 3).permute(2, 0, 1)
    # A resized picture has levels again, which an edge's overshoot is none of.
    return torch.round((planes @ across).clamp(0, 255))


def seen(map_: Tensor, *, down: Tensor, across: Tensor, reading: Reading) -> Seen:
    """A map (h, w), float32, as a mask (H, W); `down` (H, h), `across` (w, W)."""
    finite = map_.isfinite().all()
    if reading.sigmoid:
        map_ = map_.sigmoid()
    low, high = map_.aminmax()
    shows = high > SALIENCY_THRESHOLD
    if reading.stretch:
        shows = shows & (high - low >= 1 / 255)
        map_ = (map_ - low) / (high - low)
    saliency = torch.where(shows, map_, torch.zeros_like(map_))
    # What is full in theory is full, as in `worker.imaging.upsample`.
    levels = (down @ (saliency @ across) + float(ROUNDING_MARGIN)) * 255
    mask = levels.clamp(0, 255).to(torch.uint8)
    facts = torch.stack([low, high, finite.float()]).tolist()
    return Seen(mask.cpu().numpy(), facts[0], facts[1], finite=facts[2] == 1)


def _stream(device: torch.device) -> torch.cuda.Stream | None:
    if device.type == "cpu":
        return None
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's stub
