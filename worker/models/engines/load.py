"""Choose the engine by the file and the device by the job, and say what came of it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

from worker.errors import DeviceOutOfMemory, GpuUnavailable, ModelInvalid, ModelUnavailable
from worker.models.engines import gpu
from worker.models.engines.engine import Engine
from worker.models.engines.onnx import engine as onnx_engine
from worker.models.engines.onnx.prepared import prepared
from worker.models.engines.warm_up import warm_up
from worker.models.engines.winograd.unsupported import UnsupportedGraph
from worker.models.files.file_cache import FileCache
from worker.models.files.store import ModelFile
from worker.models.watchdog import Watching, unwatched

log = logging.getLogger(__name__)

_WIDE: Final = 0.5
"""The share of multiplications that must gain by it for a network to run in our own engine."""
_CHECKPOINTS: Final = (".pth", ".pt", ".safetensors")


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a job's model is to run."""

    device: str
    """`cpu` or `cuda`."""
    device_mode: str
    reason: GpuUnavailable | None = None
    """Why it is not to be a GPU, when the mode would have one."""

    @property
    def keep(self) -> bool:
        """Whether the model stays on the device when idle."""
        return self.device_mode in ("prefer_gpu", "require_gpu")


def loader(
    *,
    threads: int,
    disk: FileCache,
    batch: int = 1,
    tensorrt: bool = False,
    own_engine: bool = False,
    watching: Watching = unwatched,
) -> Callable[[ModelFile, str], Engine]:
    """A function that loads a model file on a device, for the cache.

    `disk` keeps prepared graphs; `threads` are those of one inference on a CPU, 0 for every core;
    `batch`: images that a GPU is given at once, at most; `tensorrt`: ONNX models run in it on a GPU
    where it is there; `own_engine`: what Winograd's networks can run
    on a CPU is run by them, and not by ONNX Runtime; `watching` bounds what the device does.
    """

    def load(file: ModelFile, device: str) -> Engine:
        most = min(batch, file.profile.batch or batch)
        engine = loaded(file, device, most)
        if engine.facts.device != "cpu":
            with watching(f"trying out {file.name} on {engine.facts.device}"):
                warm_up(engine, profile=file.profile, name=file.name)
        return engine

    def loaded(file: ModelFile, device: str, most: int) -> Engine:
        try:
            if is_checkpoint(file.path.suffix):
                _check_profile(file)
                engine: Engine = _torch().load(
                    file.path, device=device, threads=threads, most=most, watching=watching
                )
                return engine
            own = _own(file, threads=threads, disk=disk) if own_engine and device == "cpu" else None
            return own or onnx_engine.load(
                file.path,
                name=file.name,
                sha256=file.sha256,
                profile=file.profile,
                device=device,
                threads=threads,
                disk=disk,
                most=most,
                tensorrt=tensorrt,
                watching=watching,
            )
        except FileNotFoundError as error:
            # Evicted by another process after it was found: the next attempt fetches it again.
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


def _own(file: ModelFile, *, threads: int, disk: FileCache) -> Engine | None:
    """The file as a network of our own; None where it has something that these have not."""
    # Here: its kernels take a second to load.
    from worker.models.engines.winograd import engine as winograd_engine

    if file.profile.layout != "nchw":
        return None
    try:
        graph = _prepared(file, disk, full_precision=True)
        return winograd_engine.load(graph, threads=threads, wide=_WIDE)
    except UnsupportedGraph as reason:
        log.info("%s runs on ONNX Runtime: %s", file.name, reason)
        return None


def prepare_here(file: ModelFile, disk: FileCache) -> None:
    """Prepare a model for every device it may run on here, so that loading it writes nothing."""
    if is_checkpoint(file.path.suffix):
        return
    # A GPU that does not start leaves the CPU, which needs a graph of its own; and an image is
    # built where there is no GPU, of a build of ONNX Runtime that will see one.
    for full_precision in (True, False) if gpu.onnxruntime_facts().provider else (True,):
        _prepared(file, disk, full_precision=full_precision)


def _prepared(file: ModelFile, disk: FileCache, *, full_precision: bool) -> Path:
    return prepared(
        file.path,
        name=file.name,
        sha256=file.sha256,
        output=file.profile.output,
        full_precision=full_precision,
        disk=disk,
    )


def is_checkpoint(suffix: str) -> bool:
    """Whether a file of this suffix is run by torch."""
    return suffix.lower() in _CHECKPOINTS


def choose_device(file: ModelFile, device_mode: str) -> Placement:
    """Where to run a model for a job's device mode; `GpuUnavailable` when it must be a GPU.

    A GPU that is chosen may still fail to start: `check_device` reads back where the model is.
    """
    if device_mode == "cpu":
        return Placement(device="cpu", device_mode=device_mode)
    reason = why_no_gpu(file.path.suffix)
    if reason is not None and device_mode == "require_gpu":
        raise type(reason)(f"device_mode=require_gpu: {reason}")
    return Placement(device="cpu" if reason else "cuda", device_mode=device_mode, reason=reason)


def why_no_gpu(suffix: str) -> GpuUnavailable | None:
    """Why models of this suffix do not run on a GPU here; None: they do."""
    if is_checkpoint(suffix):
        _torch()
        return gpu.why_not(gpu.torch_facts())
    return gpu.why_not(gpu.onnxruntime_facts())


def check_device(engine: Engine, placement: Placement) -> GpuUnavailable | None:
    """Compare where the model is with what was asked: why it is not on a GPU that was wanted.

    Raises `GpuUnavailable` when it had to be one.
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
    """What to say of a GPU that is not used: `auto` is content where there is none at all."""
    if reason is None or (placement.device_mode == "auto" and placement.device == "cpu"):
        return ()
    return (
        f"device_mode={placement.device_mode}: the model is on the CPU "
        f"({engine.facts.provider}); {reason}",
    )


def _check_profile(file: ModelFile) -> None:
    if file.profile.layout != "nchw" or file.profile.output not in (None, 0):
        raise ModelInvalid(
            f"{file.name}: its profile says layout {file.profile.layout} and output "
            f"{file.profile.output!r}, a checkpoint of ISNet takes nchw and has output 0"
        )


def _torch() -> ModuleType:
    """The torch engine's module; torch is an extra that not every worker has."""
    try:
        from worker.models.engines.torch import engine as torch_engine
    except ModuleNotFoundError as error:
        raise ModelInvalid(
            "a .pth or .safetensors model needs torch, which this worker does not have; "
            "install cutwork[torch], or use an .onnx model"
        ) from error
    return torch_engine
