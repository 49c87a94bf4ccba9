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
from worker.models.engines.batch_sizes import rung
from worker.models.engines.device_error import device_error
from worker.models.engines.engine import EngineFacts
from worker.models.engines.onnx.graph import WEIGHTS
from worker.models.engines.onnx.on_device import ELEMENTS, Network, OnnxPictures, Place
from worker.models.engines.onnx.output import channel_axis
from worker.models.engines.onnx.prepared import prepared
from worker.models.engines.onnx.providers import CPU
from worker.models.engines.onnx.session import can_use_tensorrt, kept_engine, open_session
from worker.models.files.file_cache import FileCache
from worker.models.files.profile import Layout, Profile
from worker.models.watchdog import DeviceLost, Watching, unwatched

_ort = onnxruntime.capi.onnxruntime_pybind11_state

_IN_A_RUN: Final = "Error in execution"
_TYPES: Final[dict[str, type[np.float32] | type[np.float16]]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
}


class OnnxEngine:
    """One session of ONNX Runtime."""

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        *,
        name: str,
        layout: Layout,
        weight_bytes: int,
        most: int = 1,
    ) -> None:
        """`most`: images it is given at once, of which it is told the sizes of the ladder."""
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
        if self._input.type not in _TYPES:
            raise ModelInvalid(f"{name}: expected a float input, found {self._input.type}")
        batch, *axes = self._input.shape
        if isinstance(batch, int) and batch != 1:
            raise ModelInvalid(
                f"{name}: expected a graph for 1 image or any number, found one for {batch}; "
                "export it with a batch of 1 or a dynamic one"
            )
        self._one_by_one = isinstance(batch, int)
        self.most = 1 if self._one_by_one else most
        height, width = axes[1:] if layout == "nchw" else axes[:2]
        self.input_size = (
            width if isinstance(width, int) else None,
            height if isinstance(height, int) else None,
        )
        provider = session.get_providers()[0]
        self.facts = EngineFacts(
            engine=f"onnxruntime {onnxruntime.__version__}",
            provider=provider,
            device=_device(session, provider),
            dtype=session.get_modelmeta().custom_metadata_map[WEIGHTS],
        )
        self._place = Place.of(self.facts.device)
        self.pictures = None if self._place.kind == "cpu" else self.on_pictures()

    def on_pictures(self) -> OnnxPictures | None:
        """Its way from pictures to masks on its device, be it a CPU; None for a model without one.

        That is one whose axes are in another order, or whose map is of an unusual type.
        """
        if self._layout != "nchw" or self._output.type not in ELEMENTS:
            return None
        network = Network(
            run=self._run,
            channels=self._channels,
            speaking=self._speaking,
            element=ELEMENTS[self._input.type],
            dtype=_TYPES[self._input.type],
            most=self.most,
        )
        return OnnxPictures(network, self._place)

    def infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Maps (N, h, w) of a batch (N, 3, H, W), float32.

        Raises `ModelInvalid` when the output is no such map.
        """
        if self._one_by_one and len(batch) > 1:
            return np.concatenate([self.infer(image[np.newaxis]) for image in batch])
        fed = batch if self._layout == "nchw" else batch.transpose(0, 2, 3, 1)
        fed = fed.astype(_TYPES[self._input.type], copy=False)
        if missing := rung(len(fed), self.most) - len(fed):
            fed = np.concatenate([fed, np.zeros((missing, *fed.shape[1:]), fed.dtype)])
        session = self._open()
        with self._speaking(f"an input of {fed.shape}"):
            (output,) = session.run([self._output.name], {self._input.name: fed})
        maps: NDArray[np.float32] = np.asarray(output, np.float32)
        channels = self._channels(maps.shape, len(fed))
        if channels is not None:
            maps = np.take(maps, 0, axis=channels)
        return maps[: len(batch)]

    def _run(self, images: OrtValue) -> OrtValue:
        """The network's output for prepared images, both on its device."""
        session = self._open()
        binding = session.io_binding()
        binding.bind_ortvalue_input(self._input.name, images)
        binding.bind_output(self._output.name, *self._place)
        session.run_with_iobinding(binding)
        (output,) = binding.get_outputs()
        return output

    def _open(self) -> onnxruntime.InferenceSession:
        if self._session is None:
            raise RuntimeError("this engine is closed; load the model again")
        return self._session

    def _channels(self, shape: Sequence[int], images: int) -> int | None:
        """The axis of channels in maps of so many images; `ModelInvalid` for what is no map."""
        if len(shape) not in (3, 4) or shape[0] != images:
            raise ModelInvalid(
                f"{self._name}: expected an output of ({images}, channels, height, width), "
                f"found {tuple(shape)}; the output {self._output.name} is no saliency map"
            )
        if len(shape) == 3:
            return None
        known = self._output.shape
        return channel_axis(known if len(known) == 4 else shape, self._layout)

    @contextmanager
    def _speaking(self, what: str) -> Iterator[None]:
        """Say whose an error is: the device's, or the model's that refuses `what` it is given."""
        try:
            yield
        except (ModelInvalid, DeviceOutOfMemory, DeviceLost):
            raise
        except Exception as error:
            found = device_error(error, doing=f"{self._name} on {what}", device=self.facts.device)
            if found is not None:
                raise found from error
            # With what is bound to a device, a run's error has no type of its own.
            bound = isinstance(error, RuntimeError) and str(error).startswith(_IN_A_RUN)
            if not bound and not isinstance(error, (_ort.InvalidArgument, _ort.Fail)):
                raise
            raise ModelInvalid(
                f"{self._name} refuses {what}: {' '.join(str(error).split())}"
            ) from error

    def close(self) -> None:
        """Give the memory back, once a running inference is done."""
        self._session = None
        if self.pictures is not None:
            self.pictures.close()


def load(
    path: Path,
    *,
    name: str,
    sha256: str,
    profile: Profile,
    device: str,
    threads: int,
    disk: FileCache,
    most: int = 1,
    tensorrt: bool = False,
    watching: Watching = unwatched,
) -> OnnxEngine:
    """Load an ONNX file for `cpu` or `cuda`, as its profile says.

    The graph is prepared once, and kept in `disk` under the file's hash. `threads`: of one
    inference on a CPU, 0 for every core; `most`: images a GPU is given at once; `tensorrt`: it is
    to run there where it can; `name` is the user's for the model, for errors. Raises
    `ModelInvalid`, `ModelUnavailable`, `OptionConflict`, `DeviceOutOfMemory`, `DeviceLost`.
    `watching` bounds what the device does, and not the preparation, which may wait for another
    process.
    """

    def ready(device: str) -> Path:
        return prepared(
            path,
            name=name,
            sha256=sha256,
            output=profile.output,
            full_precision=device == "cpu",
            disk=disk,
        )

    def session_on(device: str, graph: Path) -> onnxruntime.InferenceSession:
        engine = None
        if tensorrt and device != "cpu" and can_use_tensorrt():
            engine = kept_engine(graph, profile, name=name, most=most, disk=disk)
        with watching(f"loading {name} on {device}"):
            try:
                return open_session(graph, device, threads=threads, engine=engine)
            except Exception as error:
                found = device_error(error, doing=f"loading {name}", device=device)
                if found is not None:
                    raise found from error
                raise

    graph = ready(device)
    try:
        session = session_on(device, graph)
        if device != "cpu" and session.get_providers()[0] == CPU:
            # CUDA did not start, of which ONNX Runtime says no more than a line in the log.
            graph = ready("cpu")
            session = session_on("cpu", graph)
        weight_bytes = graph.stat().st_size
    except _ort.NoSuchFile as error:
        raise FileNotFoundError(str(error)) from error
    except (FileNotFoundError, DeviceOutOfMemory, DeviceLost, ModelUnavailable, OptionConflict):
        raise
    except Exception as error:  # ONNX Runtime's exceptions have no common base but this.
        raise ModelInvalid(f"{name} cannot be loaded: {error}") from error
    return OnnxEngine(
        session, name=name, layout=profile.layout, weight_bytes=weight_bytes, most=most
    )


def _check_channels(shape: list[int | str | None], layout: Layout, *, name: str) -> None:
    """Refuse an input whose channels are not three, or not where the profile says."""
    axis, other, there = (1, 3, "nhwc") if layout == "nchw" else (3, 1, "nchw")
    found = shape[axis]
    if not isinstance(found, int) or found == 3:
        return
    if shape[other] == 3:
        raise ModelInvalid(
            f"{name}: its profile says layout {layout}, its graph takes {shape}, which is {there}"
        )
    raise ModelInvalid(f"{name}: expected an input of 3 channels, found {found} in {shape}")


def probe_gpu(folder: Path) -> str:
    """The provider a smallest model gets when CUDA is asked for; `folder` is for its file."""
    shape = (1, 3, 1, 1)
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])], "probe", value[:1], value[1:]
    )
    path = folder / "probe.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    disk = FileCache(folder)
    engine = load(
        path, name="probe", sha256="probe", profile=Profile(), device="cuda", threads=0, disk=disk
    )
    return engine.facts.provider


def _device(session: onnxruntime.InferenceSession, provider: str) -> str:
    if provider == CPU:
        return "cpu"
    return f"cuda:{session.get_provider_options()[provider].get('device_id', '0')}"
