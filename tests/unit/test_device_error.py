"""Device errors are recognised in the messages of the libraries."""

import pytest

from worker.errors import DeviceOutOfMemory, TransientError
from worker.models.engines.device_error import device_error
from worker.models.watchdog import DeviceLost

NODE = "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Conv node. "
CALL = " ; GPU=0 ; hostname=gpu-7 ; file=/onnxruntime_src/onnxruntime/core/providers/cuda/x.cc"
ARENA = "onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*) "
FROM_TORCH = "\nCUDA kernel errors might be asynchronously reported at some other API call"


@pytest.mark.parametrize(
    "text",
    [
        f"{NODE}Status Message: {ARENA}Failed to allocate memory for requested buffer of size 8388",
        f"{ARENA}Available memory of 0 is smaller than requested bytes of 1048576",
        f"{NODE}CUDA failure 2: out of memory{CALL}",
        f"{NODE}CUDNN failure 2: CUDNN_STATUS_ALLOC_FAILED{CALL}",
        f"{NODE}CUDNN failure 4003: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED{CALL}",
        f"{NODE}CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED{CALL}",
        f"{NODE}CUBLAS failure 3: the resource allocation failed{CALL}",
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Exception during initialization: bad "
        "allocation",
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : std::bad_alloc",
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 15.7 GiB",
        f"CUDA error: out of memory{FROM_TORCH}",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory:"
        " you tried to allocate 805306368 bytes. Error code 12 (Cannot allocate memory)",
    ],
)
def test_out_of_memory(text: str) -> None:
    error = device_error(RuntimeError(text), action="isnet on (4, 3, 9, 9)", device="cuda:0")
    assert isinstance(error, DeviceOutOfMemory)
    assert str(error).startswith(
        "isnet on (4, 3, 9, 9): expected enough memory on cuda:0, found too little ("
    )
    assert error.code == "out_of_memory"
    assert isinstance(error, TransientError)


def test_the_memory_error_of_python() -> None:
    assert isinstance(device_error(MemoryError(), action="x", device="cpu"), DeviceOutOfMemory)


@pytest.mark.parametrize(
    "text",
    [
        f"{NODE}CUDA failure 700: an illegal memory access was encountered{CALL}",
        f"CUDA failure 719: unspecified launch failure{CALL}",
        f"CUDA failure 214: uncorrectable ECC error encountered{CALL}",
        f"CUDA failure 999: unknown error{CALL}",
        f"CUDA error: device-side assert triggered{FROM_TORCH}",
        f"CUDA error: an illegal memory access was encountered{FROM_TORCH}",
        f"CUDA error: misaligned address{FROM_TORCH}",
        f"CUDA error: the launch timed out and was terminated{FROM_TORCH}",
    ],
)
def test_the_device_is_lost(text: str) -> None:
    error = device_error(RuntimeError(text), action="isnet", device="cuda:0")
    assert isinstance(error, DeviceLost)
    assert str(error) == " ".join(text.split())


@pytest.mark.parametrize(
    "text",
    [
        f"{NODE}Status Message: indices element out of data bounds, idx=5 must be within [-2,1]",
        f"{NODE}CUDA failure 1: invalid argument{CALL}",
        "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid dimensions for input: x",
        "mat1 and mat2 shapes cannot be multiplied (1x2 and 3x4)",
        "",
    ],
)
def test_other_errors_are_not_device_errors(text: str) -> None:
    assert device_error(RuntimeError(text), action="isnet", device="cuda:0") is None


def test_a_cpu_is_never_lost() -> None:
    """A node of a graph can have any name, and ONNX Runtime's messages have it."""
    text = "[ONNXRuntimeError] : 1 : FAIL : Node (CUDA failure 999: unknown error) Op (Conv)"
    assert device_error(RuntimeError(text), action="loading own.onnx", device="cpu") is None
