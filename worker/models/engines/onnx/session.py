"""Sessions of ONNX Runtime: a prepared graph on a device."""

import logging
from pathlib import Path

import onnx
import onnxruntime

from worker.errors import ModelUnavailable
from worker.models.engines import gpu
from worker.models.engines.onnx.batch_axis import BATCH
from worker.models.engines.onnx.providers import TENSORRT, EngineShapes, engine_shapes, providers
from worker.models.files.file_cache import FileCache
from worker.models.files.profile import Profile

log = logging.getLogger(__name__)


def can_use_tensorrt() -> bool:
    """Whether TensorRT is here; the log says why not, as somebody asked for it."""
    reason = gpu.why_no_tensorrt()
    if reason is not None:
        log.warning("CUTWORK_TENSORRT: %s; CUDA runs the model by itself", reason)
    return reason is None


def kept_engine(
    graph: Path, profile: Profile, *, name: str, most: int, disk: FileCache
) -> EngineShapes:
    """What TensorRT is to build of a prepared graph, in a folder of the graph's own."""
    folder = disk.folder / "tensorrt" / graph.stem
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelUnavailable(
            f"TensorRT's engine of {name} cannot be kept ({error}); make CUTWORK_MODEL_CACHE "
            "writable, or do without CUTWORK_TENSORRT"
        ) from error
    return engine_shapes(onnx.load(graph), profile=profile, name=name, most=most, folder=folder)


def open_session(
    graph: Path, device: str, *, threads: int, engine: EngineShapes | None
) -> onnxruntime.InferenceSession:
    """A prepared graph on `cpu` or `cuda`; `engine`: TensorRT is to run what it can there.

    Where what is asked for does not start, ONNX Runtime takes the next: its providers say which.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    if device == "cpu":
        # On two cores, two images at once took a sixth longer than one after the other, and
        # a single one 2 to 7 % longer than with a batch of 1 that is known beforehand.
        options.add_free_dimension_override_by_name(BATCH, 1)
    session = onnxruntime.InferenceSession(
        str(graph), options, providers=providers(device, engine=engine)
    )
    if engine is not None and session.get_providers()[0] != TENSORRT:
        log.warning("TensorRT did not start; %s runs the model", session.get_providers()[0])
    return session
