"""Checks of the settings, the model cache and the devices that a worker here would use."""

import shutil
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from producer.config.settings import SettingsError
from producer.console.findings import Finding
from worker.config.settings import ModelSettings, WorkerSettings
from worker.models.engines import gpu
from worker.models.engines.onnx.load import probe_gpu
from worker.models.files.catalogue import catalogue
from worker.pipeline.factory import open_store

_MIN_FREE_BYTES: Final = 2**30
"""Less free disk space may not be enough for the next model."""


def run_checks() -> Iterator[Finding]:
    """Run the checks one after another and yield the finding of each."""
    try:
        settings = WorkerSettings.read()
        prefixes = f"reads {', '.join(settings.read_from)}; writes {', '.join(settings.write_to)}"
        yield Finding("worker settings", True, prefixes)
    except SettingsError as error:
        yield Finding("worker settings", False, f"{error}. `docs/reference/variables.md` lists all")
    try:
        yield from _model_cache(ModelSettings.read())
    except SettingsError:
        yield Finding("model cache", None, "not checked: correct the settings above first")
    yield _onnx_device()
    yield _torch_device()


def _model_cache(settings: ModelSettings) -> Iterator[Finding]:
    folder = settings.model_cache
    store = open_store(settings)
    cached = [name for name, entry in catalogue().items() if store.is_cached(entry)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        text = f"{folder} is not writable ({error}); "
        if cached:
            yield Finding("model cache", True, f"{text}only {', '.join(cached)} can be used")
        else:
            advice = "make it writable, or set CUTWORK_MODEL_CACHE to a writable folder"
            yield Finding("model cache", False, text + advice)
        return
    free = shutil.disk_usage(folder).free
    text = f"{folder}, {free / 2**30:.1f} GiB free, holds {', '.join(cached) or 'no model yet'}"
    if free < _MIN_FREE_BYTES:
        yield Finding("model cache", False, f"{text}; free at least 1 GiB")
    else:
        advice = "" if cached else "; `python -m worker models fetch isnet-general-use` fetches one"
        yield Finding("model cache", True, text + advice)


def _onnx_device() -> Finding:
    check = "onnxruntime"
    facts = gpu.onnxruntime_facts()
    reason = gpu.unavailable_reason(facts)
    if reason is not None:
        # Only a build for CUDA was installed to use a GPU, so only for that is this a failure.
        return Finding(check, not facts.has_cuda, f"CPU only ({reason.code}): {reason}")
    with tempfile.TemporaryDirectory() as folder:
        provider = probe_gpu(Path(folder))
    if provider == "CUDAExecutionProvider":
        return Finding(check, True, "runs on the GPU")
    problem = f"CUDA is installed but does not start, a model ran on {provider}"
    advice = "look at the output of `nvidia-smi`"
    return Finding(check, False, f"CPU only (gpu_unavailable): {problem}; {advice}")


def _torch_device() -> Finding:
    if find_spec("torch") is None:
        return Finding("torch", None, "not installed; needed only for .pth and .safetensors models")
    facts = gpu.torch_facts()
    reason = gpu.unavailable_reason(facts)
    if reason is None:
        return Finding("torch", True, "runs on the GPU")
    return Finding("torch", not facts.has_cuda, f"CPU only ({reason.code}): {reason}")
