"""Models and photographs for tests of preprocessing on a device."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import skimage.data
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper
from PIL import Image

from tests.support.tiny_models import loaded, saved, value
from worker.imaging import masks
from worker.models.engines.onnx.engine import OnnxEngine
from worker.models.engines.segmenter import Conversion, DeviceMask, DeviceSegmenter
from worker.models.engines.torch.engine import TorchEngine
from worker.models.files.profile import Profile

Picture = NDArray[np.uint8]


def photographs() -> list[Picture]:
    """Return images larger and smaller than a model's input, wide, tall and of one colour."""
    coffee = Image.fromarray(skimage.data.coffee())
    return [
        *(np.asarray(coffee.resize(size)) for size in ((301, 200), (64, 64), (40, 90), (90, 40))),
        np.full((70, 80, 3), 200, np.uint8),
    ]


def model(
    path: Path, nodes: Sequence[NodeProto], *weights: TensorProto, of: int, max_batch: int = 4
) -> OnnxEngine:
    """Write and load a model of this data type that takes any number of images of any size."""
    saved(
        path,
        nodes,
        [value("x", ("n", 3, "h", "w"), of)],
        [value("y", ("n", "c", "h", "w"), of)],
        weights,
    )
    return loaded(path, max_batch=max_batch, profile=Profile(output=0, channel=0))


def mean_and(
    path: Path, operator: str, *, of: int = TensorProto.FLOAT, max_batch: int = 4
) -> OnnxEngine:
    """Write and load a model that applies an operator to the mean of the three channels."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[1], keepdims=1),
        helper.make_node(operator, ["m"], ["y"]),
    ]
    return model(path, nodes, of=of, max_batch=max_batch)


def mask_on_host(
    engine: OnnxEngine | TorchEngine, profile: Profile, rgb: Picture, side: int
) -> Picture:
    """Return the default preset's mask, with Pillow's resizing before the model."""
    batch = masks.to_input(
        rgb,
        size=(side, side),
        mean=profile.mean,
        std=profile.std,
        channels=profile.channels,
    )
    (saliency,) = engine.infer(batch)
    if profile.sigmoid:
        saliency = masks.sigmoid(saliency)
    saliency = masks.to_full_range(saliency, *profile.range)
    size = (rgb.shape[1], rgb.shape[0])
    return np.asarray(
        masks.soft_mask(saliency, size, stretched=profile.stretch, depth=np.uint8), np.uint8
    )


def masks_on_device(
    pictures: DeviceSegmenter, profile: Profile, images: Sequence[Picture], side: int
) -> Sequence[DeviceMask]:
    """Return what the device makes of the images in one batch."""
    size = (side, side)
    uploaded = [pictures.upload(rgb, size) for rgb in images]
    return pictures.masks(uploaded, Conversion.of(profile, size))
