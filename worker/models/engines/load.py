"""Choose the engine by the model file and the device by the job, and report what was chosen."""

import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from types import ModuleType
from typing import Final

from worker.errors import DeviceOutOfMemory, GpuUnavailable, ModelInvalid, ModelUnavailable
from worker.models.engines import gpu
from worker.models.engines.engine import Engine
from worker.models.engines.onnx.isolated import prepare_isolated
from worker.models.engines.onnx.load import load_onnx_engine
from worker.models.engines.onnx.prepared_graph import Prepare, prepared_graph
from worker.models.engines.warm_up import warm_up
from worker.models.engines.winograd.operation import UnsupportedGraph
from worker.models.files.file_cache import FileCache
from worker.models.files.store import ModelFile
from worker.models.watchdog import Watch

log = logging.getLogger(__name__)

_MIN_WIDE_SHARE: Final = 0.5
"""The share of multiplications in wide layers from which a network runs in the own engine."""
_CHECKPOINTS: Final = (".pth", ".pt", ".safetensors")


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a job's model is to run."""

    device: str
    """`cpu` or `cuda`."""
    device_mode: str
    reason: GpuUnavailable | None = None
    """Why it is not a GPU although the mode asks for one."""

    @property
    def keep(self) -> bool:
        """Whether the model stays on the device when idle."""
        return self.device_mode in ("prefer_gpu", "require_gpu")


def make_loader(
    *,
    threads: int,
    file_cache: FileCache,
    batch: int = 1,
    tensorrt: bool = False,
    own_engine: bool = False,
    watch: Watch = nullcontext,
    prepare: Prepare = prepare_isolated,
) -> Callable[[ModelFile, str], Engine]:
    """Return the function with which the model cache loads a model file on a device.

    `threads` are the CPU threads of one inference, 0 for one per core. `batch` is the most images
    that a GPU is given at once; a model's profile may lower it. With `tensorrt`, ONNX models run in
    TensorRT on a GPU, where it is installed. With `own_engine`, a CPU runs the networks that the
    own engine supports in it. `watch` limits the time of device calls, and `prepare` that of
    preparing a graph.
    """

    def load(file: ModelFile, device: str) -> Engine:
        max_batch = min(batch, file.profile.batch or batch)
        engine = load_cold(file, device, max_batch)
        if engine.facts.device != "cpu":
            with watch(f"trying out {file.name} on {engine.facts.device}"):
                warm_up(engine, profile=file.profile, name=file.name)
        return engine

    def load_cold(file: ModelFile, device: str, max_batch: int) -> Engine:
        try:
            if is_checkpoint(file.path.suffix):
                _check_isnet_profile(file)
                engine: Engine = _torch().load_torch_engine(
                    file.path, device=device, threads=threads, max_batch=max_batch, watch=watch
                )
                return engine
            if own_engine and device == "cpu":
                own = _load_own_engine(
                    file, threads=threads, file_cache=file_cache, prepare=prepare
                )
                if own is not None:
                    return own
            return load_onnx_engine(
                file,
                device=device,
                threads=threads,
                file_cache=file_cache,
                max_batch=max_batch,
                tensorrt=tensorrt,
                watch=watch,
                prepare=prepare,
            )
        except FileNotFoundError as error:
            # Another process evicted the file after it was found; the next attempt fetches it.
            raise ModelUnavailable(
                f"{file.name}: the file was there and is gone ({error}); the model cache may be "
                "too small, see CUTWORK_MODEL_CACHE_BYTES"
            ) from error
        except MemoryError as error:
            raise DeviceOutOfMemory(
                f"reading {file.name}: expected enough memory, found too little; give the worker "
                "more, or fewer models and processes"
            ) from error

    return load


def _check_isnet_profile(file: ModelFile) -> None:
    """Raise `ModelInvalid` if a checkpoint's profile describes another network than ISNet."""
    profile = file.profile
    if profile.layout != "nchw" or profile.output not in (None, 0):
        raise ModelInvalid(
            f"{file.name}: expected a profile with layout nchw and output 0, which "
            f"ISNet checkpoints have; found layout {profile.layout} and output {profile.output!r}"
        )
    if profile.channel not in (None, 0) or profile.softmax:
        raise ModelInvalid(
            f"{file.name}: expected a profile without `channel` and `softmax`, as the map of an "
            f"ISNet checkpoint has one channel; found channel {profile.channel}"
        )


def _load_own_engine(
    file: ModelFile, *, threads: int, file_cache: FileCache, prepare: Prepare
) -> Engine | None:
    """Load an ONNX file into the own engine; return None if that does not support its graph."""
    # Imported here because its compiled kernels take a second to load.
    from worker.models.engines.winograd.engine import load_winograd_engine

    profile = file.profile
    if profile.layout != "nchw" or profile.channel not in (None, 0) or profile.softmax:
        return None
    try:
        graph = prepared_graph(file, full_precision=True, file_cache=file_cache, prepare=prepare)
        return load_winograd_engine(graph, threads=threads, min_wide_share=_MIN_WIDE_SHARE)
    except UnsupportedGraph as reason:
        log.info("%s runs on ONNX Runtime: %s", file.name, reason)
        return None


def prepare_for_devices(file: ModelFile, file_cache: FileCache) -> None:
    """Prepare a model for every device it may run on here, so that loading it writes no file."""
    if is_checkpoint(file.path.suffix):
        return
    # The CPU's graph is always needed, in case the GPU does not start. A build with CUDA prepares
    # for a GPU even when there is none now: container images are built on machines without one.
    for full_precision in (True, False) if gpu.onnxruntime_facts().has_cuda else (True,):
        prepared_graph(file, full_precision=full_precision, file_cache=file_cache)


def is_checkpoint(suffix: str) -> bool:
    """Return whether torch runs files with this suffix."""
    return suffix.lower() in _CHECKPOINTS


def choose_device(file: ModelFile, device_mode: str) -> Placement:
    """Choose where to run a model, by the job's device mode.

    Raises `GpuUnavailable` when the mode requires a GPU and there is none. A GPU that is chosen may
    still fail to start: `check_device` reads back where the model is.
    """
    if device_mode == "cpu":
        return Placement(device="cpu", device_mode=device_mode)
    reason = gpu_unavailable_reason(file.path.suffix)
    if reason is not None and device_mode == "require_gpu":
        raise type(reason)(f"device_mode=require_gpu: {reason}")
    return Placement(device="cpu" if reason else "cuda", device_mode=device_mode, reason=reason)


def gpu_unavailable_reason(suffix: str) -> GpuUnavailable | None:
    """Return why models with this suffix do not run on a GPU here; None if they do."""
    if is_checkpoint(suffix):
        _torch()
        return gpu.unavailable_reason(gpu.torch_facts())
    return gpu.unavailable_reason(gpu.onnxruntime_facts())


def check_device(engine: Engine, placement: Placement) -> GpuUnavailable | None:
    """Return why a model is not on the GPU that its job asked for; None if all is well.

    Raises `GpuUnavailable` when the device mode requires a GPU.
    """
    if engine.facts.device != "cpu" or placement.device_mode == "cpu":
        return None
    reason = placement.reason or GpuUnavailable(
        f"the model was loaded for {placement.device} and runs on {engine.facts.provider}; CUDA "
        "did not start, the worker's log says why"
    )
    if placement.device_mode == "require_gpu":
        raise reason
    return reason


def device_warnings(
    engine: Engine, placement: Placement, reason: GpuUnavailable | None
) -> tuple[str, ...]:
    """Return the warnings about a GPU that is not used; none if `auto` finds no GPU."""
    if reason is None or (placement.device_mode == "auto" and placement.device == "cpu"):
        return ()
    return (
        f"device_mode={placement.device_mode}: the model is on the CPU "
        f"({engine.facts.provider}); {reason}",
    )


def _torch() -> ModuleType:
    """Import the torch engine's module; torch is an extra that not every worker installs."""
    try:
        from worker.models.engines.torch import engine as torch_engine
    except ModuleNotFoundError as error:
        raise ModelInvalid(
            "a .pth or .safetensors model needs torch, which this worker does not have; "
            "install cutwork[torch], or use an .onnx model"
        ) from error
    return torch_engine
