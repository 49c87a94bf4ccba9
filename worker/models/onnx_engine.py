"""Run a segmentation model in ONNX Runtime."""

import threading
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime
from filelock import FileLock
from numpy.typing import NDArray
from onnx import TensorProto, helper

from worker.errors import ModelInvalid
from worker.models.engine import EngineFacts
from worker.models.graph import WEIGHTS, prepare

_PREPARED_VERSION: Final = 1
"""Part of a prepared file's name; raised when `graph.prepare` changes what it writes."""

_ort = onnxruntime.capi.onnxruntime_pybind11_state

_TYPES: Final = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class OnnxEngine:
    """One session of ONNX Runtime."""

    def __init__(self, session: onnxruntime.InferenceSession, *, name: str) -> None:
        self._session: onnxruntime.InferenceSession | None = session
        self.turn = threading.Lock()
        inputs = session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4:
            raise ModelInvalid(
                f"{name}: expected one input (N, 3, H, W), found "
                + ", ".join(f"{value.name} {value.shape}" for value in inputs)
            )
        self._input = inputs[0]
        _, channels, height, width = self._input.shape
        if isinstance(channels, int) and channels != 3:
            raise ModelInvalid(f"{name}: expected an input of 3 channels, found {channels}")
        if self._input.type not in _TYPES:
            raise ModelInvalid(f"{name}: expected a float input, found {self._input.type}")
        self.input_size: tuple[int, int] | None = None
        if isinstance(height, int) and isinstance(width, int):
            self.input_size = (width, height)
        provider = session.get_providers()[0]
        self.facts = EngineFacts(
            engine=f"onnxruntime {onnxruntime.__version__}",
            provider=provider,
            device=_device(session, provider),
            dtype=session.get_modelmeta().custom_metadata_map[WEIGHTS],
        )

    def infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Saliency maps (N, h, w) of a batch (N, 3, H, W), float32.

        Raises `ModelInvalid` when the first output is no such map.
        """
        if self._session is None:
            raise RuntimeError("this engine is closed; load the model again")
        feed = {self._input.name: batch.astype(_TYPES[self._input.type], copy=False)}
        try:
            output = self._session.run([self._session.get_outputs()[0].name], feed)[0]
        except (_ort.InvalidArgument, _ort.Fail) as error:
            raise ModelInvalid(f"the model refuses an input of {batch.shape}: {error}") from error
        maps = np.asarray(output, dtype=np.float32)
        if maps.ndim == 3:
            maps = maps[:, np.newaxis]
        if maps.ndim != 4 or len(maps) != len(batch):
            raise ModelInvalid(
                f"expected an output of ({len(batch)}, channels, height, width), "
                f"found {maps.shape}; its first output is no saliency map"
            )
        return maps[:, 0]

    def close(self) -> None:
        """Give the memory back, once a running inference is done."""
        with self.turn:
            self._session = None


def load(path: Path, *, sha256: str, device: str, threads: int, folder: Path) -> OnnxEngine:
    """Load an ONNX file for `cpu` or `cuda`.

    The graph is prepared once, and kept in `folder` under the file's hash. `threads`: of one
    inference on a CPU, 0 for every core. Raises `ModelInvalid`.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    if device != "cpu":
        providers.insert(0, "CUDAExecutionProvider")
    ready = _prepared(path, sha256, folder, full_precision=device == "cpu")
    try:
        session = onnxruntime.InferenceSession(str(ready), options, providers=providers)
        if device != "cpu" and session.get_providers()[0] == "CPUExecutionProvider":
            # CUDA did not start, of which ONNX Runtime says no more than a line in the log.
            ready = _prepared(path, sha256, folder, full_precision=True)
            session = onnxruntime.InferenceSession(str(ready), options, providers=providers[1:])
    except Exception as error:  # ONNX Runtime's exceptions have no common base but this.
        raise ModelInvalid(f"{path.name} cannot be loaded: {error}") from error
    return OnnxEngine(session, name=path.name)


def has_gpu() -> bool:
    """Whether this build of ONNX Runtime has the CUDA provider."""
    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


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
    return load(path, sha256="probe", device="cuda", threads=0, folder=folder).facts.provider


def _prepared(path: Path, sha256: str, folder: Path, *, full_precision: bool) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    precision = "float32" if full_precision else "as-is"
    target = folder / f"{sha256}-{precision}-v{_PREPARED_VERSION}.onnx"
    with FileLock(target.with_suffix(".lock")):
        if not target.is_file():
            partial = target.with_suffix(".part")
            prepare(path, partial, full_precision=full_precision)
            partial.replace(target)
    return target


def _device(session: onnxruntime.InferenceSession, provider: str) -> str:
    if provider == "CPUExecutionProvider":
        return "cpu"
    return f"cuda:{session.get_provider_options()[provider].get('device_id', '0')}"
