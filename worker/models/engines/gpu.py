"""Why a model cannot run on a GPU here: facts gathered once, and a decision from them alone."""

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

_NO_DEVICE: Final = 100
"""CUDA_ERROR_NO_DEVICE."""


@dataclass(frozen=True, kw_only=True)
class Driver:
    """What the NVIDIA driver says of itself."""

    cuda: Version | None
    """The newest CUDA version it can run; None: there is no driver that works."""
    devices: int = 0
    memory: int = 0
    """Bytes of the first device."""
    buses: tuple[str, ...] = ()
    """PCI bus ids of the devices: what other libraries know them by."""
    problem: str = ""
    """In the driver's or the loader's own words."""


@dataclass(frozen=True, kw_only=True)
class GpuFacts:
    """All that decides whether a library can use a GPU here."""

    driver: Driver
    library: str
    """Name and version, such as `onnxruntime 1.31.1`."""
    extra: str
    """What of Cutwork's to install for a build of it that uses a GPU."""
    provider: bool
    """Whether this build can use CUDA at all."""
    cuda: Version | None = None
    """The CUDA version it was built for; None: it does not say."""
    missing: str | None = None
    """A CUDA or cuDNN library it needs and that cannot be loaded."""
    starts: bool = True
    """Whether it finds the device that the driver has."""


def why_not(facts: GpuFacts) -> GpuUnavailable | None:
    """The reason why there is no GPU, as an error that says what to install; None: there is one."""
    driver = facts.driver
    if driver.cuda is None or driver.devices == 0:
        return GpuNoDriver(
            f"expected an NVIDIA driver with a device, found none ({driver.problem}); install the "
            "driver, or give the container the device (nvidia-container-toolkit, --gpus all), and "
            "see that CUDA_VISIBLE_DEVICES does not hide it"
        )
    if not facts.provider:
        return GpuNoProvider(
            f"expected a build of {facts.library} for CUDA, found one for the CPU alone; "
            f"install {facts.extra} in its place"
        )
    # A driver runs what was built for any release of its own major version.
    if facts.cuda is not None and driver.cuda[0] < facts.cuda[0]:
        return GpuWrongCuda(
            f"{facts.library} was built for CUDA {_text(facts.cuda)}, the driver runs CUDA "
            f"{_text(driver.cuda)} at most; install a newer driver, or a build of the library for "
            f"CUDA {driver.cuda[0]}"
        )
    if facts.missing is not None:
        built = f" for CUDA {_text(facts.cuda)}" if facts.cuda else ""
        return GpuWrongCuda(
            f"{facts.library}, built{built}, needs {facts.missing}, which cannot be loaded; "
            "install CUDA and cuDNN of that major version, and put them on LD_LIBRARY_PATH"
        )
    if not facts.starts:
        return GpuUnavailable(
            f"the driver has {driver.devices} devices, but {facts.library} finds none; "
            "see what `nvidia-smi` says"
        )
    return None


@cache
def driver() -> Driver:
    """Ask the NVIDIA driver; this makes no context and takes no memory on the device."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return Driver(cuda=None, problem=str(error))
    status = cuda.cuInit(0)
    if status != 0:
        named = "no device" if status == _NO_DEVICE else f"error {status}"
        return Driver(cuda=None, problem=f"cuInit: {named}")
    version, devices, memory = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    cuda.cuDriverGetVersion(ctypes.byref(version))
    cuda.cuDeviceGetCount(ctypes.byref(devices))
    if devices.value:
        first = ctypes.c_int()
        cuda.cuDeviceGet(ctypes.byref(first), 0)
        cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), first)
    return Driver(
        # 12040 is 12.4.
        cuda=(version.value // 1000, version.value % 1000 // 10),
        devices=devices.value,
        memory=memory.value,
        buses=tuple(_bus(cuda, number) for number in range(devices.value)),
        problem="" if devices.value else "cuDeviceGetCount: 0",
    )


def _bus(cuda: ctypes.CDLL, number: int) -> str:
    device, text = ctypes.c_int(), ctypes.create_string_buffer(32)
    cuda.cuDeviceGet(ctypes.byref(device), number)
    cuda.cuDeviceGetPCIBusId(text, len(text), device)
    return text.value.decode()


@cache
def onnxruntime_facts() -> GpuFacts:
    """What decides for ONNX models."""
    provider = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    return GpuFacts(
        driver=driver(),
        library=f"onnxruntime {onnxruntime.__version__}",
        extra="cutwork[worker-gpu]",
        provider=provider,
        cuda=_version(getattr(build_and_package_info, "cuda_version", None)),
        missing=_missing_library("cuda") if provider else None,
    )


@cache
def why_no_tensorrt() -> str | None:
    """Why ONNX Runtime cannot use TensorRT here, for a person; None: it can."""
    library = f"onnxruntime {onnxruntime.__version__}"
    if "TensorrtExecutionProvider" not in onnxruntime.get_available_providers():
        return f"{library} is a build without TensorRT; install cutwork[worker-gpu]"
    missing = _missing_library("tensorrt")
    if missing is not None:
        return (
            f"{library} needs {missing}, which cannot be loaded; install that release of TensorRT, "
            "and put it on LD_LIBRARY_PATH"
        )
    return None


@cache
def torch_facts() -> GpuFacts:
    """What decides for checkpoints; torch must be installed."""
    import torch

    return GpuFacts(
        driver=driver(),
        library=f"torch {torch.__version__}",
        extra="the CUDA build of torch",
        provider=torch.version.cuda is not None,
        cuda=_version(torch.version.cuda),
        starts=torch.cuda.is_available(),
    )


def give_back_unused() -> None:
    """Give the GPU memory back that torch keeps for its next tensors, where torch is in use."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _missing_library(provider: str) -> str | None:
    """The library that keeps ONNX Runtime's `cuda` or `tensorrt` provider from loading."""
    folder = Path(build_and_package_info.__file__).parent
    try:
        ctypes.CDLL(str(folder / f"libonnxruntime_providers_{provider}.so"))
    except OSError as error:
        # By itself it always lacks a symbol of its host, which comes after all its libraries.
        name, _, problem = str(error).partition(": ")
        return name if "No such file" in problem or "cannot open" in problem else None
    return None


def _version(text: str | None) -> Version | None:
    if not text:
        return None
    major, _, rest = text.partition(".")
    return int(major), int(rest.partition(".")[0] or 0)


def _text(version: Version) -> str:
    return f"{version[0]}.{version[1]}"
