"""Recognise errors of the device in the exceptions of ONNX Runtime and torch.

Neither library has exception types for them, so they are recognised by the messages of CUDA, cuDNN,
cuBLAS, oneDNN and the memory allocators.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from worker.errors import DeviceOutOfMemory
from worker.models.watchdog import DeviceLost

_OUT_OF_MEMORY: Final = re.compile(
    r"""CUDA[ ](?:failure|error)[ ]?\d*:[ ]out[ ]of[ ]memory
    | CUDA[ ]out[ ]of[ ]memory
    | Failed[ ]to[ ]allocate[ ]memory[ ]for[ ]requested[ ]buffer
    | Available[ ]memory[ ]of[ ]\d+[ ]is[ ]smaller[ ]than[ ]requested
    | CU(?:DNN|BLAS)_STATUS_\w*ALLOC
    | (?:CUBLAS|CUDNN)[ ]failure[ ]\d+:[ ]the[ ]resource[ ]allocation[ ]failed
    | can't[ ]allocate[ ]memory
    | could[ ]not[ ]create[ ]a[ ]primitive
    | bad[_ ]alloc""",
    re.VERBOSE,
)
_LOST: Final = re.compile(
    r"""CUDA[ ](?:failure|error)[ ]?\d*:[ ](?:
      an[ ]illegal[ ](?:memory[ ]access|instruction)[ ]was[ ]encountered
    | device-side[ ]assert[ ]triggered
    | unspecified[ ]launch[ ]failure
    | the[ ]launch[ ]timed[ ]out[ ]and[ ]was[ ]terminated
    | misaligned[ ]address
    | invalid[ ]program[ ]counter
    | operation[ ]not[ ]supported[ ]on[ ]global/shared[ ]address[ ]space
    | hardware[ ]stack[ ]error
    | uncorrectable[ ]
    | context[ ]is[ ]destroyed
    | unknown[ ]error)""",
    re.VERBOSE,
)
"""After these errors, as CUDA's reference says, every call fails until the process ends."""


def device_error(
    error: Exception, *, action: str, device: str
) -> DeviceOutOfMemory | DeviceLost | None:
    """Return the device's error behind a library's exception; None if the model or input caused it.

    `action` says what failed and names the model; it begins the message.
    """
    text = " ".join(str(error).split())
    # A graph's own names are in the messages, and could read like an error of CUDA.
    if device != "cpu" and _LOST.search(text):
        return DeviceLost(text)
    if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(text):
        return DeviceOutOfMemory(
            f"{action}: expected enough memory on {device}, found too little ({text}); give the "
            "model a smaller --size, or the worker more memory or fewer models and processes"
        )
    return None


@contextmanager
def translate_errors(action: str, *, device: str) -> Iterator[None]:
    """Raise `device_error` of an exception in the block where it has one; others pass through."""
    try:
        yield
    except Exception as error:
        known = device_error(error, action=action, device=device)
        if known is None:
            raise
        raise known from error
