"""Run a segmentation model in ONNX Runtime."""

from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from worker.errors import DeviceOutOfMemory, ModelInvalid
from worker.models.batch_axis import BATCH
from worker.models.device_error import device_error
from worker.models.disk import DiskCache
from worker.models.engine import EngineFacts
from worker.models.graph import WEIGHTS
from worker.models.output import channel_axis
from worker.models.prepared import prepared
from worker.models.profile import Layout, Profile
from worker.watchdog import DeviceLost, Watching, unwatched

_ort = onnxruntime.capi.onnxruntime_pybind11_state

_TYPES: Final = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class OnnxEngine:
    """One session of ONNX Runtime."""

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        *,
        name: str,
        layout: Layout,
        weight_bytes: int,
    ) -> None:
        self._session: onnxruntime.InferenceSession | None = session
        self.bytes = weight_bytes
        self._layout = layout
        self._name = name
        inputs = session.get_inputs()
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

    def infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Maps (N, h, w) of a batch (N, 3, H, W), float32.

        Raises `ModelInvalid` when the output is no such map.
        """
        if self._one_by_one and len(batch) > 1:
            return np.concatenate([self.infer(image[np.newaxis]) for image in batch])
        session = self._session
        if session is None:
            raise RuntimeError("this engine is closed; load the model again")
        fed = batch if self._layout == "nchw" else batch.transpose(0, 2, 3, 1)
        feed = {self._input.name: fed.astype(_TYPES[self._input.type], copy=False)}
        (value,) = session.get_outputs()
        try:
            output = session.run([value.name], feed)[0]
        except Exception as error:
            doing = f"{self._name} on an input of {fed.shape}"
            found = device_error(error, doing=doing, device=self.facts.device)
            if found is not None:
                raise found from error
            if not isinstance(error, (_ort.InvalidArgument, _ort.Fail)):
                raise
            raise ModelInvalid(
                f"{self._name} refuses an input of {fed.shape}: {' '.join(str(error).split())}"
            ) from error
        maps = np.asarray(output, dtype=np.float32)
        if maps.ndim == 4:
            known = value.shape if len(value.shape) == 4 else maps.shape
            maps = maps[:, 0] if channel_axis(known, self._layout) == 1 else maps[..., 0]
        if maps.ndim != 3 or len(maps) != len(batch):
            raise ModelInvalid(
                f"{self._name}: expected an output of ({len(batch)}, channels, height, width), "
                f"found {np.shape(output)}; the output {value.name} is no saliency map"
            )
        return maps

    def close(self) -> None:
        """Give the memory back, once a running inference is done."""
        self._session = None


def load(
    path: Path,
    *,
    name: str,
    sha256: str,
    profile: Profile,
    device: str,
    threads: int,
    disk: DiskCache,
    watching: Watching = unwatched,
) -> OnnxEngine:
    """Load an ONNX file for `cpu` or `cuda`, as its profile says.

    The graph is prepared once, and kept in `disk` under the file's hash. `threads`: of one
    inference on a CPU, 0 for every core; `name` is the user's for it, for errors. Raises
    `ModelInvalid`, `ModelUnavailable`, `DeviceOutOfMemory`, `DeviceLost`. `watching` bounds what
    the device does, and not the preparation, which may wait for another process.
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
        with watching(f"loading {name} on {device}"):
            try:
                return _session(graph, device, threads)
            except Exception as error:
                found = device_error(error, doing=f"loading {name}", device=device)
                if found is not None:
                    raise found from error
                raise

    graph = ready(device)
    try:
        session = session_on(device, graph)
        if device != "cpu" and session.get_providers()[0] == "CPUExecutionProvider":
            # CUDA did not start, of which ONNX Runtime says no more than a line in the log.
            graph = ready("cpu")
            session = session_on("cpu", graph)
        weight_bytes = graph.stat().st_size
    except _ort.NoSuchFile as error:
        raise FileNotFoundError(str(error)) from error
    except (FileNotFoundError, DeviceOutOfMemory, DeviceLost):
        raise
    except Exception as error:  # ONNX Runtime's exceptions have no common base but this.
        raise ModelInvalid(f"{name} cannot be loaded: {error}") from error
    return OnnxEngine(session, name=name, layout=profile.layout, weight_bytes=weight_bytes)


def _session(graph: Path, device: str, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    if device == "cpu":
        # On two cores, two images at once took a sixth longer than one after the other, and
        # a single one 2 to 7 % longer than with a batch of 1 that is known beforehand.
        options.add_free_dimension_override_by_name(BATCH, 1)
    else:
        providers.insert(0, "CUDAExecutionProvider")
    return onnxruntime.InferenceSession(str(graph), options, providers=providers)


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
    disk = DiskCache(folder)
    engine = load(
        path, name="probe", sha256="probe", profile=Profile(), device="cuda", threads=0, disk=disk
    )
    return engine.facts.provider


def _device(session: onnxruntime.InferenceSession, provider: str) -> str:
    if provider == "CPUExecutionProvider":
        return "cpu"
    return f"cuda:{session.get_provider_options()[provider].get('device_id', '0')}"
