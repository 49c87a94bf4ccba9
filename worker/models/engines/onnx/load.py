"""Load models into ONNX Runtime."""

import logging
from contextlib import nullcontext
from pathlib import Path

import onnx
import onnxruntime
from onnx import parser

from worker.errors import DeviceOutOfMemory, ModelInvalid, ModelUnavailable, OptionConflict
from worker.models.engines import gpu
from worker.models.engines.device_error import translate_errors
from worker.models.engines.onnx.engine import OnnxEngine
from worker.models.engines.onnx.graph import cannot_load
from worker.models.engines.onnx.isolated import prepare_isolated
from worker.models.engines.onnx.prepared_graph import Prepare, prepared_graph
from worker.models.engines.onnx.providers import CPU, TENSORRT, Options, providers, tensorrt_options
from worker.models.engines.onnx.recorded_facts import read_structure_bytes
from worker.models.engines.onnx.session import session_options
from worker.models.files.file_cache import FileCache
from worker.models.files.profile import Profile
from worker.models.files.store import ModelFile
from worker.models.watchdog import DeviceLost, Watch

log = logging.getLogger(__name__)
_ort = onnxruntime.capi.onnxruntime_pybind11_state


def load_onnx_engine(
    file: ModelFile,
    *,
    device: str,
    threads: int,
    file_cache: FileCache,
    max_batch: int = 1,
    tensorrt: bool = False,
    watch: Watch = nullcontext,
    prepare: Prepare = prepare_isolated,
) -> OnnxEngine:
    """Load an ONNX file as its profile says, on `cpu` or `cuda`; parameters as in `make_loader`.

    A GPU that does not start leaves the model on the CPU. `watch` does not limit the time of the
    graph's preparation, which may have to wait for another process; `prepare` limits its own.

    Raises `ModelInvalid` for a file that is not a model that fits its profile, `ModelUnavailable`
    when the file cache cannot be written, `OptionConflict` where the profile contradicts the graph,
    `DeviceOutOfMemory`, `DeviceLost`, and `FileNotFoundError` when the model file is gone.
    """

    def session_on(device: str, graph: Path) -> onnxruntime.InferenceSession:
        options = None
        if tensorrt and device != "cpu" and can_use_tensorrt():
            options = _cached_tensorrt_options(file, graph, file_cache, max_batch=max_batch)
        with (
            watch(f"loading {file.name} on {device}"),
            translate_errors(f"loading {file.name}", device=device),
        ):
            return _open_session(graph, device, threads=threads, tensorrt=options)

    graph = prepared_graph(
        file, full_precision=device == "cpu", file_cache=file_cache, prepare=prepare
    )
    try:
        session = session_on(device, graph)
        if device != "cpu" and session.get_providers()[0] == CPU:
            # CUDA did not start; ONNX Runtime reports this only as a line in its log.
            graph = prepared_graph(
                file, full_precision=True, file_cache=file_cache, prepare=prepare
            )
            session = session_on("cpu", graph)
        memory = graph.stat().st_size
        memory += read_structure_bytes(session.get_modelmeta().custom_metadata_map)
    except _ort.NoSuchFile as error:
        raise FileNotFoundError(str(error)) from error
    except (FileNotFoundError, DeviceOutOfMemory, DeviceLost, ModelUnavailable, OptionConflict):
        raise
    except Exception as error:  # ONNX Runtime's exceptions have no other common base class.
        raise ModelInvalid(cannot_load(file.name, error, graph, file.path)) from error
    return OnnxEngine(session, file=file, memory=memory, max_batch=max_batch)


def can_use_tensorrt() -> bool:
    """Return whether TensorRT is usable; log the reason if not, because it was asked for."""
    reason = gpu.tensorrt_unavailable_reason()
    if reason is not None:
        log.warning("CUTWORK_TENSORRT: %s; CUDA runs the model without it", reason)
    return reason is None


def _cached_tensorrt_options(
    file: ModelFile, graph: Path, file_cache: FileCache, *, max_batch: int
) -> Options:
    """Return TensorRT's options for a prepared graph, with a folder in the file cache for it."""
    folder = file_cache.folder / "tensorrt" / graph.stem
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelUnavailable(
            f"TensorRT's engine of {file.name} cannot be stored ({error}); make "
            "CUTWORK_MODEL_CACHE writable, or unset CUTWORK_TENSORRT"
        ) from error
    return tensorrt_options(
        onnx.load(graph), file.profile, name=file.name, max_batch=max_batch, cache_folder=folder
    )


def _open_session(
    graph: Path, device: str, *, threads: int, tensorrt: Options | None
) -> onnxruntime.InferenceSession:
    """Open a prepared graph; where a provider does not start, ONNX Runtime uses the next one."""
    session = onnxruntime.InferenceSession(
        str(graph),
        session_options(device, threads=threads),
        providers=providers(device, tensorrt=tensorrt),
    )
    if tensorrt is not None and session.get_providers()[0] != TENSORRT:
        log.warning("TensorRT did not start; %s runs the model", session.get_providers()[0])
    return session


def probe_gpu(folder: Path) -> str:
    """Return the provider of a minimal model that is loaded for CUDA; `folder` gets its files."""
    model = parser.parse_model("""<ir_version: 8, opset_import: ["" : 17]>
    probe (float[1, 3, 1, 1] x) => (float[1, 3, 1, 1] y) { y = Relu(x) }""")
    path = folder / "probe.onnx"
    onnx.save(model, path)
    file = ModelFile(name="probe", path=path, sha256="probe", profile=Profile())
    engine = load_onnx_engine(file, device="cuda", threads=0, file_cache=FileCache(folder))
    return engine.facts.provider
