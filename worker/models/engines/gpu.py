"""Why models cannot run on a GPU here: facts are gathered once; the decision needs only them."""

import ctypes
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import onnxruntime
from onnxruntime.capi import build_and_package_info

from worker.errors import GpuNoDriver, GpuNoProvider, GpuUnavailable, GpuWrongCuda

Version = tuple[int, int]

_CUDA_ERROR_NO_DEVICE: Final = 100


@dataclass(frozen=True, kw_only=True)
class Driver:
    """What the NVIDIA driver reports."""

    cuda: Version | None
    """The newest CUDA version that it supports; None: no working driver."""
    devices: int = 0
    memory: int = 0
    """Memory of the first device in bytes."""
    bus_ids: tuple[str, ...] = ()
    """PCI bus ids of the devices, by which other libraries such as NVML identify them."""
    problem: str = ""
    """The message of the driver or of the dynamic loader."""


@dataclass(frozen=True, kw_only=True)
class GpuFacts:
    """All facts that decide whether a library can use a GPU here."""

    driver: Driver
    library: str
    """Name and version, such as `onnxruntime 1.31.1`."""
    install: str
    """What to install for a build with CUDA, such as `cutwork[worker-gpu]`."""
    has_cuda: bool
    """Whether this build supports CUDA."""
    cuda: Version | None = None
    """The CUDA version it was built for; None: unknown."""
    missing_library: str | None = None
    """The name of a CUDA or cuDNN library that it needs and that cannot be loaded."""
    finds_device: bool = True
    """Whether the library finds the device that the driver reports."""


def unavailable_reason(facts: GpuFacts) -> GpuUnavailable | None:
    """Return why no GPU can be used, as an error that says what to install; None if one can."""
    driver = facts.driver
    if driver.cuda is None or driver.devices == 0:
        return GpuNoDriver(
            f"expected an NVIDIA driver with a device, found none ({driver.problem}); install the "
            "driver, or give the container the device (nvidia-container-toolkit, --gpus all), and "
            "see that CUDA_VISIBLE_DEVICES does not hide it"
        )
    if not facts.has_cuda:
        return GpuNoProvider(
            f"expected a build of {facts.library} for CUDA, found one for the CPU alone; "
            f"install {facts.install} in its place"
        )
    # A driver runs builds for any release of its own major version.
    if facts.cuda is not None and driver.cuda[0] < facts.cuda[0]:
        return GpuWrongCuda(
            f"{facts.library} was built for CUDA {_version_text(facts.cuda)}, the driver runs CUDA "
            f"{_version_text(driver.cuda)} at most; install a newer driver, or a build of the "
            f"library for CUDA {driver.cuda[0]}"
        )
    if facts.missing_library is not None:
        built = f" for CUDA {_version_text(facts.cuda)}" if facts.cuda else ""
        return GpuWrongCuda(
            f"{facts.library}, built{built}, needs {facts.missing_library}, which cannot be "
            "loaded; install CUDA and cuDNN of that major version, and put them on LD_LIBRARY_PATH"
        )
    if not facts.finds_device:
        return GpuUnavailable(
            f"the driver has {driver.devices} devices, but {facts.library} finds none; "
            "see what `nvidia-smi` says"
        )
    return None


@cache
def driver() -> Driver:
    """Ask the NVIDIA driver, without creating a context or taking memory on the device."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return Driver(cuda=None, problem=str(error))
    status = cuda.cuInit(0)
    if status != 0:
        reason = "no device" if status == _CUDA_ERROR_NO_DEVICE else f"error {status}"
        return Driver(cuda=None, problem=f"cuInit: {reason}")
    version, devices, memory = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    cuda.cuDriverGetVersion(ctypes.byref(version))
    cuda.cuDeviceGetCount(ctypes.byref(devices))
    if devices.value:
        first = ctypes.c_int()
        cuda.cuDeviceGet(ctypes.byref(first), 0)
        cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), first)
    return Driver(
        # 12040 means 12.4.
        cuda=(version.value // 1000, version.value % 1000 // 10),
        devices=devices.value,
        memory=memory.value,
        bus_ids=tuple(_bus_id(cuda, number) for number in range(devices.value)),
        problem="" if devices.value else "cuDeviceGetCount: 0",
    )


def _bus_id(cuda: ctypes.CDLL, number: int) -> str:
    device, text = ctypes.c_int(), ctypes.create_string_buffer(32)
    cuda.cuDeviceGet(ctypes.byref(device), number)
    cuda.cuDeviceGetPCIBusId(text, len(text), device)
    return text.value.decode()


@cache
def onnxruntime_facts() -> GpuFacts:
    """Return the facts that decide for ONNX models."""
    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    return GpuFacts(
        driver=driver(),
        library=f"onnxruntime {onnxruntime.__version__}",
        install="cutwork[worker-gpu]",
        has_cuda=has_cuda,
        cuda=_parse_version(getattr(build_and_package_info, "cuda_version", None)),
        missing_library=_missing_library("cuda") if has_cuda else None,
    )


@cache
def tensorrt_unavailable_reason() -> str | None:
    """Return why ONNX Runtime cannot use TensorRT here, as a sentence; None if it can."""
    library = f"onnxruntime {onnxruntime.__version__}"
    if "TensorrtExecutionProvider" not in onnxruntime.get_available_providers():
        return f"{library} is a build without TensorRT; install cutwork[worker-gpu]"
    if missing := _missing_library("tensorrt"):
        return (
            f"{library} needs {missing}, which cannot be loaded; install that release of TensorRT, "
            "and put it on LD_LIBRARY_PATH"
        )
    return None


@cache
def torch_facts() -> GpuFacts:
    """Return the facts that decide for torch checkpoints; torch must be installed."""
    import torch

    return GpuFacts(
        driver=driver(),
        library=f"torch {torch.__version__}",
        install="the CUDA build of torch",
        has_cuda=torch.version.cuda is not None,
        cuda=_parse_version(torch.version.cuda),
        finds_device=torch.cuda.is_available(),
    )


def release_cached_memory() -> None:
    """Free the GPU memory that torch's caching allocator keeps, if torch is in use."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _missing_library(provider: str) -> str | None:
    """Return the missing library that prevents a provider, `cuda` or `tensorrt`, from loading."""
    folder = Path(build_and_package_info.__file__).parent
    try:
        ctypes.CDLL(str(folder / f"libonnxruntime_providers_{provider}.so"))
    except OSError as error:
        # Outside its host the provider always lacks a symbol, but the loader looks for symbols only
        # after it has found all libraries.
        name, _, problem = str(error).partition(": ")
        return name if "No such file" in problem or "cannot open" in problem else None
    return None


def _parse_version(text: str | None) -> Version | None:
    if not text:
        return None
    major, _, rest = text.partition(".")
    return int(major), int(rest.partition(".")[0] or 0)


def _version_text(version: Version) -> str:
    return f"{version[0]}.{version[1]}"
