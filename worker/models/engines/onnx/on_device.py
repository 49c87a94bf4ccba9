"""Pictures in, masks out, in ONNX Runtime: the network between two small graphs on its device."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto
from onnxruntime import OrtValue

from worker.models.engines.batch_sizes import rung
from worker.models.engines.on_device import OnDevice, Reading, Seen, Uploaded
from worker.models.engines.onnx.providers import providers
from worker.models.engines.onnx.steps import mask_graph, squash_graph

ELEMENTS: Final = {
    "tensor(float)": TensorProto.FLOAT,
    "tensor(float16)": TensorProto.FLOAT16,
    "tensor(double)": TensorProto.DOUBLE,
}
"""The number types of networks that are run on pictures."""


class Place(NamedTuple):
    """A device in ONNX Runtime's words."""

    kind: str
    """`cpu` or `cuda`."""
    number: int

    @classmethod
    def of(cls, device: str) -> "Place":
        """The place of `cpu` or `cuda:<number>`."""
        kind, _, number = device.partition(":")
        return cls(kind, int(number or 0))

    def put(self, array: NDArray[Any]) -> OrtValue:
        """A copy there; on a CPU the array itself."""
        return OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), *self)


class Network(NamedTuple):
    """A session's network, as the steps around it need it."""

    run: Callable[[OrtValue], OrtValue]
    """Maps of prepared images, both on the device."""
    channels: Callable[[Sequence[int], int], int | None]
    """The axis of channels in so many maps of a shape; `ModelInvalid` for what is no map."""
    speaking: Callable[[str], AbstractContextManager[None]]
    """Makes a block whose errors are the device's or the model's, on what it is given."""
    element: int
    """ONNX's number of the input's type, which is `dtype`."""
    dtype: type[np.float32] | type[np.float16]
    most: int
    """Images it is given at once, at most."""


class OnnxPictures(OnDevice):
    """See `worker.models.engines.on_device.Pictures`. Also runs on a CPU, for tests alone."""

    def __init__(self, network: Network, place: Place) -> None:
        self._network = network
        self._place = place
        super().__init__(most=network.most, speaking=network.speaking)
        self._squash = cache(lambda: _session(squash_graph(network.element), place))
        self._mask = cache(
            lambda element, rank, channels, sigmoid, stretch: _session(
                mask_graph(
                    element=element, rank=rank, channels=channels, sigmoid=sigmoid, stretch=stretch
                ),
                place,
            )
        )

    def close(self) -> None:
        """Give the memory back, once what runs is done."""
        super().close()
        self._squash.cache_clear()
        self._mask.cache_clear()

    def _put(self, array: NDArray[Any]) -> OrtValue:
        return self._place.put(array)

    def _masks(self, pictures: Sequence[Uploaded], reading: Reading) -> list[Seen]:
        batch = self._squashed(pictures, reading)
        maps = self._network.run(batch)
        shape = maps.shape()
        channels = self._network.channels(shape, batch.shape()[0])
        session = self._mask(
            ELEMENTS[maps.data_type()], len(shape), channels, reading.sigmoid, reading.stretch
        )
        height, width = (side for axis, side in enumerate(shape) if axis not in (0, channels))
        found = []
        for number, picture in enumerate(pictures):
            binding = session.io_binding()
            binding.bind_ortvalue_input("maps", maps)
            binding.bind_cpu_input("index", np.array([number]))
            down = self._matrices.down(height, picture.height)
            across = self._matrices.across(width, picture.width)
            binding.bind_ortvalue_input("down", down)
            binding.bind_ortvalue_input("across", across)
            for name in ("mask", "facts"):
                binding.bind_output(name, "cpu")
            session.run_with_iobinding(binding)
            mask, facts = binding.copy_outputs_to_cpu()
            low, high, sound = facts.tolist()
            found.append(Seen(mask, low, high, finite=sound == 0))
        return found

    def _squashed(self, pictures: Sequence[Uploaded], reading: Reading) -> OrtValue:
        """The batch of these pictures; what fills it up to its rung nobody reads."""
        width, height = reading.size
        dtype = self._network.dtype
        images = rung(len(pictures), self._network.most)
        shape = (3, height, width)
        batch = OrtValue.ortvalue_from_shape_and_type((images, *shape), dtype, *self._place)
        session = self._squash()
        for number, picture in enumerate(pictures):
            binding = session.io_binding()
            down = self._matrices.down(picture.height, height)
            across = self._matrices.across(picture.width, width)
            binding.bind_ortvalue_input("picture", picture.pixels)
            binding.bind_ortvalue_input("down", down)
            binding.bind_ortvalue_input("across", across)
            for name in ("scale", "offset", "order"):
                binding.bind_cpu_input(name, getattr(reading, name))
            start = batch.data_ptr() + number * 3 * height * width * np.dtype(dtype).itemsize
            binding.bind_output("x", *self._place, dtype, (1, *shape), start)
            session.run_with_iobinding(binding)
        return batch


def _session(model: ModelProto, place: Place) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(),
        options,
        # In TF32 the sums of a mask that is full everywhere would be a level short of it.
        providers=providers(place.kind, number=place.number, exact=True),
    )
