"""Choose the engine by the file and the device by the job, and say what came of it."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Final

from worker.errors import GpuUnavailable, ModelInvalid
from worker.models import onnx_engine
from worker.models.engine import Engine
from worker.models.store import ModelFile

_CHECKPOINTS: Final = (".pth", ".pt", ".safetensors")


def loader(*, threads: int, folder: Path) -> Callable[[ModelFile, str], Engine]:
    """A function that loads a model file on a device, for the cache.

    `folder` keeps prepared graphs; `threads` are those of one inference on a CPU, 0 for every core.
    """

    def load(file: ModelFile, device: str) -> Engine:
        if file.path.suffix.lower() in _CHECKPOINTS:
            engine: Engine = _torch().load(file.path, device=device, threads=threads)
            return engine
        return onnx_engine.load(
            file.path, sha256=file.sha256, device=device, threads=threads, folder=folder
        )

    return load


def choose_device(file: ModelFile, device_mode: str) -> str:
    """`cpu` or `cuda` for a job's device mode; `GpuUnavailable` when it must be a GPU.

    A GPU that is chosen may still fail to start: `check_device` reads back where the model is.
    """
    if device_mode == "cpu":
        return "cpu"
    if file.path.suffix.lower() in _CHECKPOINTS:
        available, missing = _torch().has_gpu(), "torch finds no CUDA device"
    else:
        available, missing = onnx_engine.has_gpu(), "onnxruntime has no CUDAExecutionProvider"
    if not available and device_mode == "require_gpu":
        raise GpuUnavailable(
            f"device_mode=require_gpu: {missing}; install cutwork[worker-gpu] and a current NVIDIA "
            "driver, or ask for auto"
        )
    return "cuda" if available else "cpu"


def check_device(engine: Engine, *, wanted: str, device_mode: str) -> tuple[str, ...]:
    """Compare where the model is with what was asked; warnings, or `GpuUnavailable`.

    `wanted` is what `choose_device` chose. `auto` is content with a CPU where there is no GPU, but
    not with a GPU that does not start.
    """
    facts = engine.facts
    if facts.device != "cpu" or (wanted == "cpu" and device_mode in ("cpu", "auto")):
        return ()
    sentence = f"device_mode={device_mode}: the model is on the CPU ({facts.provider})"
    if wanted != "cpu":
        sentence += "; CUDA did not start, the worker's log says why"
    if device_mode == "require_gpu":
        raise GpuUnavailable(sentence)
    return (sentence,)


def _torch() -> ModuleType:
    """The torch engine's module; torch is an extra that not every worker has."""
    try:
        from worker.models import torch_engine
    except ModuleNotFoundError as error:
        raise ModelInvalid(
            "a .pth or .safetensors model needs torch, which this worker does not have; "
            "install cutwork[torch], or use an .onnx model"
        ) from error
    return torch_engine
