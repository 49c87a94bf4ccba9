"""Run a segmentation model in ONNX Runtime."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnxruntime import OrtValue

from worker.errors import DeviceOutOfMemory, ModelInvalid, ModelUnavailable, OptionConflict
from worker.models.engines.batch_sizes import padded
from worker.models.engines.device_error import device_error
from worker.models.engines.engine import EngineFacts
from worker.models.engines.onnx.graph import WEIGHT_TYPE_KEY
from worker.models.engines.onnx.output import channel_axis
from worker.models.engines.onnx.prepared_graph import prepared_graph
from worker.models.engines.onnx.providers import CPU
from worker.models.engines.onnx.segmenter import ELEMENTS, Network, OnnxSegmenter, OrtDevice
from worker.models.engines.onnx.session import (
    cached_tensorrt_options,
    can_use_tensorrt,
    open_session,
)
from worker.models.files.file_cache import FileCache
from worker.models.files.profile import Layout, Profile
from worker.models.files.store import ModelFile
from worker.models.watchdog import DeviceLost, Watch, no_watchdog

_ort = onnxruntime.capi.onnxruntime_pybind11_state

_RUN_ERROR: Final = "Error in execution"
_DTYPES: Final[dict[str, type[np.float32] | type[np.float16]]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
}


class OnnxEngine:
    """A network in one session of ONNX Runtime."""

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        *,
        name: str,
        layout: Layout,
        weight_bytes: int,
        max_batch: int = 1,
    ) -> None:
        """`max_batch` does not apply to a graph with a fixed batch of 1.

        Raises `ModelInvalid` where the graph's input is not one batch of images.
        """
        self._session: onnxruntime.InferenceSession | None = session
        self.bytes = weight_bytes
        self._layout = layout
        self._name = name
        inputs, (self._output,) = session.get_inputs(), session.get_outputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4:
            raise ModelInvalid(
                f"{name}: expected one input (N, 3, H, W), found "
                + ", ".join(f"{value.name} {value.shape}" for value in inputs)
            )
        self._input = inputs[0]
        _check_channels(self._input.shape, layout, name=name)
        if self._input.type not in _DTYPES:
            raise ModelInvalid(f"{name}: expected a float input, found {self._input.type}")
        batch, *axes = self._input.shape
        if isinstance(batch, int) and batch != 1:
            raise ModelInvalid(
                f"{name}: expected a graph for 1 image or any number, found one for {batch}; "
                "export it with a batch of 1 or a dynamic one"
            )
        self._has_fixed_batch = isinstance(batch, int)
        self.max_batch = 1 if self._has_fixed_batch else max_batch
        height, width = axes[1:] if layout == "nchw" else axes[:2]
        self.input_size = (
            width if isinstance(width, int) else None,
            height if isinstance(height, int) else None,
        )
        provider = session.get_providers()[0]
        self.facts = EngineFacts(
            engine=f"onnxruntime {onnxruntime.__version__}",
            provider=provider,
            device=_device_of(session, provider),
            dtype=session.get_modelmeta().custom_metadata_map[WEIGHT_TYPE_KEY],
        )
        self._device = OrtDevice.of(self.facts.device)
        self.segmenter = None if self._device.kind == "cpu" else self.build_segmenter()

    def build_segmenter(self) -> OnnxSegmenter | None:
        """Return a segmenter on the engine's device, even on a CPU.

        Returns None for a model with the layout `nhwc` or an output of an unusual number type.
        """
        if self._layout != "nchw" or self._output.type not in ELEMENTS:
            return None
        network = Network(
            run=self._run,
            channel_axis=self._channel_axis,
            translate_errors=self._translate_errors,
            element=ELEMENTS[self._input.type],
            dtype=_DTYPES[self._input.type],
            max_batch=self.max_batch,
        )
        return OnnxSegmenter(network, self._device)

    def infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the saliency maps (N, h, w) of a batch (N, 3, H, W), both float32.

        Raises what `Engine.infer` raises.
        """
        if self._has_fixed_batch and len(batch) > 1:
            return np.concatenate([self.infer(image[np.newaxis]) for image in batch])
        images = batch if self._layout == "nchw" else batch.transpose(0, 2, 3, 1)
        images = padded(images.astype(_DTYPES[self._input.type], copy=False), self.max_batch)
        session = self._require_session()
        with self._translate_errors(f"an input of {images.shape}"):
            (output,) = session.run([self._output.name], {self._input.name: images})
        maps: NDArray[np.float32] = np.asarray(output, np.float32)
        channels = self._channel_axis(maps.shape, len(images))
        if channels is not None:
            maps = np.take(maps, 0, axis=channels)
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

    def _channel_axis(self, shape: Sequence[int], images: int) -> int | None:
        """Return the axis of channels in the output of this many images; None if it has none.

        Raises `ModelInvalid` where the shape is not that of saliency maps.
        """
        if len(shape) not in (3, 4) or shape[0] != images:
            raise ModelInvalid(
                f"{self._name}: expected an output of ({images}, channels, height, width), "
                f"found {tuple(shape)}; the output {self._output.name} is not a saliency map"
            )
        if len(shape) == 3:
            return None
        declared = self._output.shape
        return channel_axis(declared if len(declared) == 4 else shape, self._layout)

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
            if not in_run and not isinstance(error, (_ort.InvalidArgument, _ort.Fail)):
                raise
            raise ModelInvalid(
                f"{self._name} refuses {image_input}: {' '.join(str(error).split())}"
            ) from error

    def close(self) -> None:
        """Free the network's memory as soon as a running inference is done."""
        self._session = None
        if self.segmenter is not None:
            self.segmenter.close()


def load_onnx_engine(
    file: ModelFile,
    *,
    device: str,
    threads: int,
    file_cache: FileCache,
    max_batch: int = 1,
    tensorrt: bool = False,
    watch: Watch = no_watchdog,
) -> OnnxEngine:
    """Load an ONNX file, as its profile says.

    Args:
        file: the model; its graph is prepared once and stored in the file cache under its hash.
        device: `cpu` or `cuda`; a GPU that does not start leaves the model on the CPU.
        threads: CPU threads of one inference; 0: one per core.
        file_cache: stores the prepared graph.
        max_batch: the most images that a GPU is given at once.
        tensorrt: run the model in TensorRT on a GPU, where it is installed.
        watch: limits the time of device calls; not that of the preparation, which may have to
            wait for another process.

    Raises:
        ModelInvalid: the file is not a model that fits its profile.
        ModelUnavailable: the file cache cannot be written.
        OptionConflict: the profile contradicts the graph.
        DeviceOutOfMemory: the network does not fit into the device's memory.
        DeviceLost: the device accepts no more calls from this process.
        FileNotFoundError: the model file is gone.
    """
    profile = file.profile

    def session_on(device: str, graph: Path) -> onnxruntime.InferenceSession:
        options = None
        if tensorrt and device != "cpu" and can_use_tensorrt():
            options = cached_tensorrt_options(
                graph, profile, name=file.name, max_batch=max_batch, file_cache=file_cache
            )
        with watch(f"loading {file.name} on {device}"):
            try:
                return open_session(graph, device, threads=threads, tensorrt=options)
            except Exception as error:
                known = device_error(error, action=f"loading {file.name}", device=device)
                if known is not None:
                    raise known from error
                raise

    graph = prepared_graph(file, full_precision=device == "cpu", file_cache=file_cache)
    try:
        session = session_on(device, graph)
        if device != "cpu" and session.get_providers()[0] == CPU:
            # CUDA did not start; ONNX Runtime reports this only as a line in its log.
            graph = prepared_graph(file, full_precision=True, file_cache=file_cache)
            session = session_on("cpu", graph)
        weight_bytes = graph.stat().st_size
    except _ort.NoSuchFile as error:
        raise FileNotFoundError(str(error)) from error
    except (FileNotFoundError, DeviceOutOfMemory, DeviceLost, ModelUnavailable, OptionConflict):
        raise
    except Exception as error:  # ONNX Runtime's exceptions have no other common base class.
        raise ModelInvalid(f"{file.name} cannot be loaded: {error}") from error
    return OnnxEngine(
        session,
        name=file.name,
        layout=profile.layout,
        weight_bytes=weight_bytes,
        max_batch=max_batch,
    )


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


def probe_gpu(folder: Path) -> str:
    """Return the provider of a minimal model that is loaded for CUDA; `folder` gets its files."""
    shape = (1, 3, 1, 1)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])], "probe", values[:1], values[1:]
    )
    path = folder / "probe.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    file = ModelFile(name="probe", path=path, sha256="probe", profile=Profile())
    engine = load_onnx_engine(file, device="cuda", threads=0, file_cache=FileCache(folder))
    return engine.facts.provider


def _device_of(session: onnxruntime.InferenceSession, provider: str) -> str:
    if provider == CPU:
        return "cpu"
    return f"cuda:{session.get_provider_options()[provider].get('device_id', '0')}"
