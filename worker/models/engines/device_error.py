"""What an error of ONNX Runtime or torch says of the device: out of memory, or lost.

Neither has types for it: out of memory is a `Fail`, a `RuntimeException` or a `RuntimeError` among
others, and is told by the words of CUDA, cuDNN, cuBLAS, oneDNN and the allocators.
"""

import re
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
"""After these, as CUDA's reference has it, every call gives the same until the process ends."""


def device_error(
    error: Exception, *, doing: str, device: str
) -> DeviceOutOfMemory | DeviceLost | None:
    """What an engine's error is if it is the device's; None when it is of the model or the input.

    `doing`: what did not work, with the model's name, for the message.
    """
    text = " ".join(str(error).split())
    if _LOST.search(text):
        return DeviceLost(text)
    if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(text):
        return DeviceOutOfMemory(
            f"{doing}: expected enough memory on {device}, found too little ({text}); give the "
            "model a smaller --size, or the worker more memory or fewer models and processes"
        )
    return None
