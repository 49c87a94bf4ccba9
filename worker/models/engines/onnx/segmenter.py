"""A segmenter on ONNX Runtime: the network between two small graphs on the same device."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper
from onnxruntime import OrtValue

from worker.models.engines.batch_sizes import padded_batch_size
from worker.models.engines.onnx.conversion_graphs import input_graph, mask_graph
from worker.models.engines.onnx.map_channel import MapChannel
from worker.models.engines.onnx.providers import providers
from worker.models.engines.segmenter import BaseSegmenter, Conversion, DeviceImage, DeviceMask

ELEMENTS: Final = {
    "tensor(float)": TensorProto.FLOAT,
    "tensor(float16)": TensorProto.FLOAT16,
    "tensor(double)": TensorProto.DOUBLE,
}
"""ONNX element types of the outputs that a segmenter can read."""


class OrtDevice(NamedTuple):
    """A device as ONNX Runtime identifies it."""

    kind: str
    """`cpu` or `cuda`."""
    device_id: int

    @classmethod
    def of(cls, device: str) -> "OrtDevice":
        """Parse `cpu` or `cuda:<number>`."""
        kind, _, device_id = device.partition(":")
        return cls(kind, int(device_id or 0))

    def copy(self, array: NDArray[Any]) -> OrtValue:
        """Return a copy of an array on the device; on a CPU, the array itself without a copy."""
        return OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), *self)


class OnnxSegmenter(BaseSegmenter):
    """See `segmenter.DeviceSegmenter`. It also runs on a CPU, but only tests use that."""

    def __init__(
        self,
        run: Callable[[OrtValue], OrtValue],
        *,
        find_channel: Callable[[Sequence[int], Sequence[int]], MapChannel],
        device: OrtDevice,
        element: int,
        max_batch: int,
        translate_errors: Callable[[str], AbstractContextManager[None]],
    ) -> None:
        """`run` returns the output for prepared images of the ONNX type `element`, on `device`.

        `find_channel` returns the saliency map's channel by the shapes of output and input; it
        raises `ModelInvalid` where that is not a batch of saliency maps.
        """
        super().__init__(max_batch=max_batch, translate_errors=translate_errors)
        self._run = run
        self._find_channel = find_channel
        self._device = device
        self._dtype = helper.tensor_dtype_to_np_dtype(element)
        self._input_session = cache(lambda: _session(input_graph(element), device))
        self._mask_session = cache(
            lambda element, rank, channel, sigmoid, value_range, stretch: _session(
                mask_graph(
                    element=element,
                    rank=rank,
                    channel=channel,
                    sigmoid=sigmoid,
                    value_range=value_range,
                    stretch=stretch,
                ),
                device,
            )
        )

    def close(self) -> None:
        """Free the device's memory; a running call keeps what it needs until it is done."""
        super().close()
        self._input_session.cache_clear()
        self._mask_session.cache_clear()

    def _copy_to_device(self, array: NDArray[Any]) -> OrtValue:
        return self._device.copy(array)

    def _masks(self, images: Sequence[DeviceImage], conversion: Conversion) -> list[DeviceMask]:
        batch = self._prepare_batch(images, conversion)
        maps = self._run(batch)
        shape = maps.shape()
        channel = self._find_channel(shape, batch.shape())
        session = self._mask_session(
            *(ELEMENTS[maps.data_type()], len(shape), channel),
            *(conversion.sigmoid, conversion.range, conversion.stretch),
        )
        height, width = (side for axis, side in enumerate(shape) if axis not in (0, channel.axis))
        masks = []
        for index, image in enumerate(images):
            vertical, horizontal = self._resize_matrices((width, height), image.size)
            binding = session.io_binding()
            binding.bind_ortvalue_input("maps", maps)
            binding.bind_cpu_input("index", np.array([index]))
            binding.bind_ortvalue_input("vertical", vertical)
            binding.bind_ortvalue_input("horizontal", horizontal)
            for name in ("mask", "statistics"):
                binding.bind_output(name, "cpu")
            session.run_with_iobinding(binding)
            mask, statistics = binding.copy_outputs_to_cpu()
            minimum, maximum, finite = statistics.tolist()
            masks.append(DeviceMask(mask, minimum, maximum, is_finite=finite == 0))
        return masks

    def _prepare_batch(self, images: Sequence[DeviceImage], conversion: Conversion) -> OrtValue:
        """Return the network's input; images that only pad the batch are left uninitialised."""
        width, height = conversion.size
        shape = (padded_batch_size(len(images), self._max_batch), 3, height, width)
        batch = OrtValue.ortvalue_from_shape_and_type(shape, self._dtype, *self._device)
        session = self._input_session()
        for index, image in enumerate(images):
            vertical, horizontal = self._resize_matrices(image.size, conversion.size)
            binding = session.io_binding()
            binding.bind_ortvalue_input("image", image.pixels)
            binding.bind_ortvalue_input("vertical", vertical)
            binding.bind_ortvalue_input("horizontal", horizontal)
            for name in ("scale", "offset", "channel_order"):
                binding.bind_cpu_input(name, getattr(conversion, name))
            address = batch.data_ptr() + index * 3 * height * width * self._dtype.itemsize
            binding.bind_output("x", *self._device, self._dtype, (1, *shape[1:]), address)
            session.run_with_iobinding(binding)
        return batch


def _session(model: ModelProto, device: OrtDevice) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(),
        options,
        # TF32 would make a full mask one level too low.
        providers=providers(device.kind, device_id=device.device_id, exact=True),
    )
