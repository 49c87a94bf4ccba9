"""Load models into ONNX Runtime."""

from pathlib import Path

import onnx
import onnxruntime
from onnx import TensorProto, helper

from worker.errors import DeviceOutOfMemory, ModelInvalid, ModelUnavailable, OptionConflict
from worker.models.engines.device_error import translate_errors
from worker.models.engines.onnx.engine import OnnxEngine
from worker.models.engines.onnx.prepared_graph import prepared_graph
from worker.models.engines.onnx.providers import CPU
from worker.models.engines.onnx.session import (
    cached_tensorrt_options,
    can_use_tensorrt,
    open_session,
)
from worker.models.files.file_cache import FileCache
from worker.models.files.profile import Profile
from worker.models.files.store import ModelFile
from worker.models.watchdog import DeviceLost, Watch, no_watchdog

_ort = onnxruntime.capi.onnxruntime_pybind11_state


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
        with (
            watch(f"loading {file.name} on {device}"),
            translate_errors(f"loading {file.name}", device=device),
        ):
            return open_session(graph, device, threads=threads, tensorrt=options)

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
