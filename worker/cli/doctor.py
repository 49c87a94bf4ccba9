"""Check what a worker on this machine needs: settings, model cache, device."""

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
from worker.models.engines.onnx import engine as onnx_engine
from worker.models.files.catalogue import catalogue
from worker.pipeline.factory import open_store

_ROOM: Final = 2**30
"""Bytes of free disk below which the next model may not fit."""


def run_checks() -> Iterator[Finding]:
    """Every check in turn."""
    try:
        settings = WorkerSettings.read()
        places = f"reads {', '.join(settings.read_from)}; writes {', '.join(settings.write_to)}"
        yield Finding("worker settings", True, places)
    except SettingsError as error:
        yield Finding("worker settings", False, f"{error}. The README's table lists every variable")
    try:
        yield from _model_cache(ModelSettings.read())
    except SettingsError:
        yield Finding("model cache", False, "not checked: the settings above come first")
    yield _onnx_device()
    yield _torch_device()


def _model_cache(settings: ModelSettings) -> Iterator[Finding]:
    folder = settings.model_cache
    store = open_store(settings)
    cached = [name for name, entry in catalogue().items() if store.cached(entry)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        text = f"{folder} cannot be written ({error}); "
        if cached:
            yield Finding("model cache", True, f"{text}only {', '.join(cached)} can be used")
        else:
            advice = "make it writable, or set CUTWORK_MODEL_CACHE to a folder that is"
            yield Finding("model cache", False, text + advice)
        return
    free = shutil.disk_usage(folder).free
    text = f"{folder}, {free / 2**30:.1f} GiB free, holds {', '.join(cached) or 'no model yet'}"
    if free < _ROOM:
        yield Finding("model cache", False, f"{text}; free at least 1 GiB")
    else:
        advice = "" if cached else "; `python -m worker models fetch isnet-general-use` fetches one"
        yield Finding("model cache", True, text + advice)


def _onnx_device() -> Finding:
    what = "onnxruntime"
    facts = gpu.onnxruntime_facts()
    reason = gpu.why_not(facts)
    if reason is not None:
        # A build for CUDA was installed to use a GPU; one for the CPU is content without.
        return Finding(what, not facts.provider, f"CPU only ({reason.code}): {reason}")
    with tempfile.TemporaryDirectory() as folder:
        provider = onnx_engine.probe_gpu(Path(folder))
    if provider == "CUDAExecutionProvider":
        return Finding(what, True, "runs on the GPU")
    return Finding(
        what,
        False,
        f"CPU only (gpu_unavailable): CUDA is there but does not start, a model ran on {provider}; "
        "see what `nvidia-smi` says",
    )


def _torch_device() -> Finding:
    if find_spec("torch") is None:
        return Finding("torch", True, "not installed; needed only for .pth and .safetensors models")
    facts = gpu.torch_facts()
    reason = gpu.why_not(facts)
    if reason is None:
        return Finding("torch", True, "runs on the GPU")
    return Finding("torch", not facts.provider, f"CPU only ({reason.code}): {reason}")
