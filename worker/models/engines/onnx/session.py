"""Sessions of ONNX Runtime: a prepared graph on a device."""

import logging
from pathlib import Path

import onnx
import onnxruntime

from worker.errors import ModelUnavailable
from worker.models.engines import gpu
from worker.models.engines.onnx.batch_axis import BATCH
from worker.models.engines.onnx.providers import (
    TENSORRT,
    TensorRtOptions,
    providers,
    tensorrt_options,
)
from worker.models.files.file_cache import FileCache
from worker.models.files.profile import Profile

log = logging.getLogger(__name__)


def can_use_tensorrt() -> bool:
    """Return whether TensorRT is usable; log the reason if not, because it was asked for."""
    reason = gpu.tensorrt_unavailable_reason()
    if reason is not None:
        log.warning("CUTWORK_TENSORRT: %s; CUDA runs the model without it", reason)
    return reason is None


def cached_tensorrt_options(
    graph: Path, profile: Profile, *, name: str, max_batch: int, file_cache: FileCache
) -> TensorRtOptions:
    """Return what TensorRT builds of a prepared graph, with a folder in the file cache for it."""
    folder = file_cache.folder / "tensorrt" / graph.stem
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelUnavailable(
            f"TensorRT's engine of {name} cannot be stored ({error}); make CUTWORK_MODEL_CACHE "
            "writable, or unset CUTWORK_TENSORRT"
        ) from error
    return tensorrt_options(
        onnx.load(graph), profile=profile, name=name, max_batch=max_batch, cache_folder=folder
    )


def open_session(
    graph: Path, device: str, *, threads: int, tensorrt: TensorRtOptions | None
) -> onnxruntime.InferenceSession:
    """Open a prepared graph on `cpu` or `cuda`; with `tensorrt`, TensorRT runs what it can.

    When a provider does not start, ONNX Runtime falls back to the next one; `get_providers` of the
    session tells which one runs.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    if device == "cpu":
        # On two cores, a batch of two took a sixth longer than two images one after the other, and
        # a single image 2 to 7 % longer than with a batch of 1 that is known in advance.
        options.add_free_dimension_override_by_name(BATCH, 1)
    session = onnxruntime.InferenceSession(
        str(graph), options, providers=providers(device, tensorrt=tensorrt)
    )
    if tensorrt is not None and session.get_providers()[0] != TENSORRT:
        log.warning("TensorRT did not start; %s runs the model", session.get_providers()[0])
    return session
