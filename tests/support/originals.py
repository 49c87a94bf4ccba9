"""The two systems that Cutwork replaces, reimplemented plainly as references for the presets.

ISNetSegment is its formulae in torch on the network of `worker.models.engines.torch.isnet`; what
ImageSegmentationCustom does is rembg itself (a test-only dependency), fed the same weights.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import rembg
import torch
import torch.nn.functional as F  # noqa: N812 - the name in PyTorch's documentation
from numpy.typing import NDArray
from PIL import Image, ImageOps
from rembg.sessions.dis_general_use import DisSession

from worker.models.engines.torch.isnet import ISNetBase

Bytes = NDArray[np.uint8]


class ISNetSegment:
    """The PyTorch node: saliency map in bytes and binary mask of an (H, W, 3) image."""

    def __init__(self, network: ISNetBase, *, side: int = 1024) -> None:
        """`side` of the model's square input; the node always uses 1024."""
        self._network = network.eval()
        self._sides = (side, side)
        self._soft: dict[bytes, Bytes] = {}

    def soft(self, rgb: Bytes) -> Bytes:
        """Return (H, W) levels before the threshold; cached by image."""
        if (key := rgb.tobytes()) not in self._soft:
            self._soft[key] = self._run(rgb)
        return self._soft[key]

    def _run(self, rgb: Bytes) -> Bytes:
        image = torch.from_numpy(rgb.astype(np.float32) / 255).permute(2, 0, 1)[None]
        squashed = F.interpolate(image, size=self._sides, mode="bilinear", align_corners=False)
        with torch.inference_mode():
            output = self._network((squashed - 0.5) / 1.0)
        d1 = output[0][0] if isinstance(output, tuple) else output
        p = F.interpolate(d1, size=rgb.shape[:2], mode="bilinear", align_corners=False)[0, 0]
        p = (p - p.min()) / (p.max() - p.min())
        return (p * 255).to(torch.uint8).numpy()

    @staticmethod
    def mask(soft: Bytes, threshold: float) -> Bytes:
        """Return an (H, W) mask of 0 and 255."""
        return np.where(soft / 255 > threshold, 255, 0).astype(np.uint8)


class SegmentationCustom(DisSession):  # type: ignore[misc]  # rembg is untyped
    """rembg's session with a custom model, mean, std and size, loaded once."""

    def __init__(self, model: Path, *, mean: Any = 0.485, std: Any = 1.0, size: Any = 1024) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self.inner_session = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )
        self._seen: dict[tuple[str, bytes], Any] = {}
        self.figures = (
            mean if isinstance(mean, tuple) else (mean,) * 3,
            std if isinstance(std, tuple) else (std,) * 3,
            size if isinstance(size, tuple) else (size, size),
        )

    def predict(self, img: Image.Image, *_: Any, **__: Any) -> Any:
        """Return rembg's prediction; cached by image."""
        if (key := (img.mode, img.tobytes())) not in self._seen:
            self._seen[key] = super().predict(img)
        return self._seen[key]

    def normalize(self, img: Image.Image, *_: Any, **__: Any) -> Any:
        """Normalise as rembg does, with this session's parameters."""
        return super().normalize(img, *self.figures)

    def remove(self, picture: Image.Image, **options: Any) -> Bytes:
        """Return the result of rembg's `remove`: (H, W) with `only_mask`, else (H, W, 4)."""
        options = {"alpha_matting_background_threshold": 20} | options
        return np.asarray(rembg.remove(picture, session=self, **options))


def opened(data: bytes) -> Image.Image:
    """Return a file's image upright and in a colour mode that both originals support."""
    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if picture.mode in ("RGB", "RGBA"):
        return picture
    return picture.convert("RGBA" if picture.has_transparency_data else "RGB")
