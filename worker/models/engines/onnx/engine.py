"""Run a segmentation model in ONNX Runtime."""

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime import OrtValue

from worker.errors import DeviceOutOfMemory, ModelInvalid
from worker.imaging.masks import softmax
from worker.models.engines.batch_sizes import padded
from worker.models.engines.device_error import device_error
from worker.models.engines.engine import EngineFacts
from worker.models.engines.onnx.map_channel import MapChannel, declared_channels, find_channel
from worker.models.engines.onnx.providers import CPU
from worker.models.engines.onnx.recorded_facts import WEIGHT_TYPE_KEY
from worker.models.engines.onnx.segmenter import ELEMENTS, OnnxSegmenter, OrtDevice
from worker.models.files.profile import Layout
from worker.models.files.store import ModelFile
from worker.models.watchdog import DeviceLost

_ort = onnxruntime.capi.onnxruntime_pybind11_state

_RUN_ERROR: Final = "Error in execution"
_INPUT_TYPES: Final = {"tensor(float)": "float32", "tensor(float16)": "float16"}
_MAX_MAP_ELEMENTS: Final = 2**28
"""Numbers of an output: 16 maps of the largest input."""
_MAP_TYPES: Final = re.compile(r"tensor\((float|float16|double|u?int\d+|bool)\)")
_REFUSALS: Final = (
    _ort.EPFail,
    _ort.Fail,
    _ort.InvalidArgument,
    _ort.InvalidGraph,
    _ort.NotImplemented,
    _ort.RuntimeException,
)
"""What ONNX Runtime raises when a node cannot compute its input."""


class OnnxEngine:
    """A network in one session of ONNX Runtime."""

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        *,
        file: ModelFile,
        memory: int,
        max_batch: int = 1,
    ) -> None:
        """`max_batch` does not apply to a graph with a fixed batch of 1.

        Raises `ModelInvalid` where the graph's input is not one batch of images, or its output is
        not a tensor of numbers.
        """
        self._session: onnxruntime.InferenceSession | None = session
        self.bytes = memory
        self._profile, self._layout = file.profile, file.profile.layout
        layout = self._layout
        self._name = name = file.name
        inputs, (self._output,) = session.get_inputs(), session.get_outputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4:
            raise ModelInvalid(
                f"{name}: expected one input (N, 3, H, W), found "
                + ", ".join(f"{value.name} {value.shape}" for value in inputs)
            )
        map_sides = [side for side in self._output.shape if isinstance(side, int)]
        if math.prod(map_sides) > _MAX_MAP_ELEMENTS:
            raise ModelInvalid(
                f"{name}: expected an output of at most {_MAX_MAP_ELEMENTS:,} numbers, found "
                f"{self._output.shape}"
            )
        self._input = inputs[0]
        _check_channels(self._input.shape, layout, name=name)
        if self._input.type not in _INPUT_TYPES:
            raise ModelInvalid(f"{name}: expected a float input, found {self._input.type}")
        if not _MAP_TYPES.fullmatch(self._output.type):
            raise ModelInvalid(
                f"{name}: expected an output of numbers, found {self._output.type} in the output "
                f"{self._output.name}"
            )
        batch, *axes = self._input.shape
        if isinstance(batch, int) and batch != 1:
            raise ModelInvalid(
                f"{name}: expected a graph for 1 image or any number, found one for {batch}; "
                "export it with a batch of 1 or a dynamic one"
            )
        self._has_fixed_batch = isinstance(batch, int)
        self.max_batch = 1 if self._has_fixed_batch else max_batch
        channels = declared_channels(
            self._output.shape,
            images=self._input.shape,
            profile=file.profile,
            name=self._output_name,
        )
        sides = [side if isinstance(side, int) else None for side in axes]
        self.input_size = (sides[2], sides[1]) if layout == "nchw" else (sides[1], sides[0])
        provider = session.get_providers()[0]
        self.facts = EngineFacts(
            engine=f"onnxruntime {onnxruntime.__version__}",
            provider=provider,
            device=_device_of(session, provider),
            dtype=session.get_modelmeta().custom_metadata_map[WEIGHT_TYPE_KEY],
            channels=channels or 1,
        )
        self._device = OrtDevice.of(self.facts.device)
        self.segmenter = None if self._device.kind == "cpu" else self.build_segmenter()

    def build_segmenter(self) -> OnnxSegmenter | None:
        """Return a segmenter, even on a CPU; None for layout `nhwc` or an unusual output type."""
        if self._layout != "nchw" or self._output.type not in ELEMENTS:
            return None
        return OnnxSegmenter(
            self._run,
            find_channel=self._find_channel,
            device=self._device,
            element=ELEMENTS[self._input.type],
            max_batch=self.max_batch,
            translate_errors=self._translate_errors,
        )

    def infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Engine.infer`."""
        if self._has_fixed_batch and len(batch) > 1:
            return np.concatenate([self.infer(image[np.newaxis]) for image in batch])
        images = batch if self._layout == "nchw" else batch.transpose(0, 2, 3, 1)
        images = padded(images.astype(_INPUT_TYPES[self._input.type], copy=False), self.max_batch)
        session = self._require_session()
        with self._translate_errors(f"an input of {images.shape}"):
            (output,) = session.run([self._output.name], {self._input.name: images})
        maps: NDArray[np.float32] = np.asarray(output, np.float32)
        channel = self._find_channel(maps.shape, images.shape)
        if channel.axis is not None:
            likely = softmax(maps, axis=channel.axis) if channel.softmax else maps
            maps = np.take(likely, channel.number, axis=channel.axis)
        return maps[: len(batch)]

    def _run(self, images: OrtValue) -> OrtValue:
        """Return the network's output for prepared images, both on its device."""
        session = self._require_session()
        binding = session.io_binding()
        binding.bind_ortvalue_input(self._input.name, images)
        binding.bind_output(self._output.name, *self._device)
        session.run_with_iobinding(binding)
        (output,) = binding.get_outputs()
        return output

    def _require_session(self) -> onnxruntime.InferenceSession:
        if self._session is None:
            raise RuntimeError("this engine is closed; load the model again")
        return self._session

    @property
    def _output_name(self) -> str:
        return f"{self._name}, output {self._output.name}"

    def _find_channel(self, shape: Sequence[int], images: Sequence[int]) -> MapChannel:
        """Return the saliency map's channel in an output for a batch, both given by shape."""
        channel = find_channel(
            shape,
            declared=self._output.shape,
            images=images,
            profile=self._profile,
            name=self._output_name,
        )
        channels = 1 if channel.axis is None else shape[channel.axis]
        if channels != self.facts.channels:
            self.facts = replace(self.facts, channels=channels)
        return channel

    @contextmanager
    def _translate_errors(self, image_input: str) -> Iterator[None]:
        """Raise ONNX Runtime's errors as the device's, or as the model refusing its input."""
        try:
            yield
        except (ModelInvalid, DeviceOutOfMemory, DeviceLost):
            raise
        except Exception as error:
            action = f"{self._name} on {image_input}"
            known = device_error(error, action=action, device=self.facts.device)
            if known is not None:
                raise known from error
            # Runs with IO binding raise a plain RuntimeError.
            in_run = isinstance(error, RuntimeError) and str(error).startswith(_RUN_ERROR)
            if not in_run and not isinstance(error, _REFUSALS):
                raise
            raise ModelInvalid(
                f"{self._name} refuses {image_input}: {' '.join(str(error).split())}"
            ) from error

    def close(self) -> None:
        """Free the network's memory as soon as a running inference is done."""
        self._session = None
        if self.segmenter is not None:
            self.segmenter.close()


def _check_channels(shape: list[int | str | None], layout: Layout, *, name: str) -> None:
    """Raise `ModelInvalid` unless the input has three channels where the profile says."""
    axis, other_axis, other_layout = (1, 3, "nhwc") if layout == "nchw" else (3, 1, "nchw")
    channels = shape[axis]
    if not isinstance(channels, int) or channels == 3:
        return
    if shape[other_axis] == 3:
        raise ModelInvalid(
            f"{name}: its profile says layout {layout}, its graph takes {shape}, which is "
            f"{other_layout}"
        )
    raise ModelInvalid(f"{name}: expected an input of 3 channels, found {channels} in {shape}")


def _device_of(session: onnxruntime.InferenceSession, provider: str) -> str:
    if provider == CPU:
        return "cpu"
    return f"cuda:{session.get_provider_options()[provider].get('device_id', '0')}"
