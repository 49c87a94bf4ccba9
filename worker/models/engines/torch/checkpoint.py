"""Read checkpoints without running code in them."""

import errno
import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from worker.errors import ModelInvalid

# How torch's weights-only reader names the function or class that it refuses to import.
_REJECTED_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by name.

    Raises `ModelInvalid` for a damaged file and for one that contains code, `ValueError` where the
    content is not a state dict, and `OSError`.
    """
    return _state_dict(_read(path))


def _read(path: Path) -> object:
    if path.suffix not in {".pth", ".pt", ".safetensors"}:
        raise ModelInvalid(f"expected a .pth, .pt or .safetensors file, found {path.name}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # Damaged bytes cause nearly any error: EOF, Runtime, Key, …
        # In a truncated zip file torch seeks to a negative offset, which is EINVAL.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        rejected = _REJECTED_GLOBAL.search(str(error))
        if isinstance(error, pickle.UnpicklingError) and rejected:
            raise ModelInvalid(
                f"{path.name} holds code and not only tensors: its pickle names {rejected[1]}. It "
                "was not run; save only the network's state dict"
            ) from error
        raise ModelInvalid(
            f"{path.name} ({path.stat().st_size} bytes) cannot be read: it is cut short or "
            "damaged, or is not a checkpoint of tensors; fetch it again and compare its hash"
        ) from error


def _state_dict(checkpoint: object) -> dict[str, Tensor]:
    """Return tensors by name, from a nested ``state_dict`` and without DataParallel's prefix."""
    if isinstance(checkpoint, Mapping) and "state_dict" in checkpoint:
        checkpoint = checkpoint["state_dict"]
    if not isinstance(checkpoint, Mapping):
        raise ValueError(  # noqa: TRY004 - a wrong file, not a wrong call
            f"expected names with tensors, found a {type(checkpoint).__name__}"
        )
    tensors: dict[str, Tensor] = {}
    for name, value in checkpoint.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ValueError(  # noqa: TRY004 - a wrong file, not a wrong call
                f"expected only tensors, found a {type(value).__name__} at {name!r}"
            )
        tensors[name] = value
    if tensors and all(name.startswith("module.") for name in tensors):
        return {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors
