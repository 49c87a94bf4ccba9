"""Read checkpoints: the tensors of a file, and only those of the shapes that the network has.

Nothing in a file is run, and no memory is used beyond the network's size: names and shapes are
checked before any tensor is read, and each tensor reads only its own part of the file.
"""

import errno
import struct
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import BinaryIO, Final

from safetensors import SafetensorError, safe_open
from torch import Tensor

from worker.errors import ModelInvalid
from worker.models.engines.torch import legacy_file, zip_file
from worker.models.engines.torch.pickle_objects import MAX_NAME, Code, Names, Refused, StoredTensor
from worker.models.engines.torch.stored_tensors import TensorFile, read_tensor

Shapes = Mapping[str, tuple[int, ...]]
Check = Callable[[Shapes], object]

_MAX_HEADER: Final = 4 * 2**20
"""Bytes of the header of a safetensors file; ISNet's has a hundred thousand."""
_SHOWN: Final = 80
"""Characters of a name from the file that an error shows."""
_PREFIXES: Final = ("module.", "_orig_mod.")
"""Of DataParallel and of `torch.compile`."""
_ADVICE: Final = (
    "save the network's state dict alone, or under the name 'state_dict': "
    "torch.save(network.state_dict(), path)"
)


def read_state_dict(path: Path, *, check: Check = lambda _: None) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by name, on the CPU.

    `check` gets the shape of every tensor before any of them is read, and may raise.

    Raises `ModelInvalid` for a damaged file and for one that contains anything but a state dict's
    parts, `ValueError` where the content is not a state dict, `OSError`, and what `check` raises.
    """
    suffix = path.suffix.lower()
    if suffix not in {".pth", ".pt", ".safetensors"}:
        raise ModelInvalid(f"expected a .pth, .pt or .safetensors file, found {path.name}")
    with path.open("rb") as file:
        if suffix == ".safetensors":
            return _read_safetensors(path, file, check)
        content, tensor_file = _read_content(path, file)
        stored = _state_dict(content)
        check({name: tensor.size for name, tensor in stored.items()})
        try:
            return {name: read_tensor(file, tensor_file, item) for name, item in stored.items()}
        except Refused as error:
            raise _refused(path, error) from error


def _read_content(path: Path, file: BinaryIO) -> tuple[object, TensorFile]:
    """Return what the pickle of a checkpoint holds, and where its storages are."""
    is_zip = file.read(4) == b"PK\3\4"
    file.seek(0)
    try:
        return zip_file.read(file) if is_zip else legacy_file.read(file)
    except Refused as error:
        raise _refused(path, error) from error
    except MemoryError:
        raise
    except Exception as error:  # Damaged bytes cause nearly any error: Value, Index, Key, …
        # An archive may lead to before the beginning of the file, which is EINVAL.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise _damaged(path) from error


def _refused(path: Path, error: Refused) -> ModelInvalid:
    if isinstance(error, Code):
        return ModelInvalid(
            f"{path.name} holds code and not only tensors: its pickle names "
            f"{str(error)[:_SHOWN]}. It was not run; save only the network's state dict, with "
            "torch.save(network.state_dict(), path)"
        )
    return ModelInvalid(
        f"{path.name}: expected a state dict as torch.save writes it, found {error}; save "
        "the network's state dict again, with contiguous tensors"
    )


def _damaged(path: Path) -> ModelInvalid:
    return ModelInvalid(
        f"{path.name} ({path.stat().st_size} bytes) cannot be read: it is cut short or "
        "damaged, or is not a checkpoint of tensors; fetch it again and compare its hash"
    )


def _read_safetensors(path: Path, file: BinaryIO, check: Check) -> dict[str, Tensor]:
    header = file.read(8)
    length = struct.unpack("<Q", header)[0] if len(header) == 8 else 0
    if length > _MAX_HEADER:
        raise ModelInvalid(
            f"{path.name}: expected a header of at most {_MAX_HEADER:,} bytes, found {length:,}; "
            "is it a safetensors file?"
        )
    try:
        with safe_open(path, framework="pt") as tensors:
            keys = tensors.keys()
            shapes = {name: tuple(tensors.get_slice(name).get_shape()) for name in keys}
    except SafetensorError as error:
        raise _damaged(path) from error
    names = _without_prefix(shapes)
    check({short: shapes[name] for name, short in names.items()})
    try:
        with safe_open(path, framework="pt") as tensors:
            return {short: tensors.get_tensor(name) for name, short in names.items()}
    except SafetensorError as error:  # A type of numbers that torch does not have.
        raise _damaged(path) from error


def _state_dict(checkpoint: object) -> dict[str, StoredTensor]:
    """Return tensors by name, from a nested ``state_dict`` and without the prefixes of wrappers."""
    if isinstance(checkpoint, Names) and "state_dict" in checkpoint:
        checkpoint = checkpoint["state_dict"]
    if not isinstance(checkpoint, Names):
        raise ValueError(  # noqa: TRY004 - a wrong file, not a wrong call
            f"expected names with tensors, found {_kind(checkpoint)}; {_ADVICE}"
        )
    if checkpoint.other_keys:
        raise ValueError(
            "expected names with tensors, found "
            f"{checkpoint.other_keys:,} keys that are not texts, or texts too long for a name; "
            f"{_ADVICE}"
        )
    tensors: dict[str, StoredTensor] = {}
    for name, value in checkpoint.items():
        if not isinstance(value, StoredTensor):
            raise ValueError(  # noqa: TRY004 - a wrong file, not a wrong call
                f"expected only tensors, found {_kind(value)} at {name[:_SHOWN]!r}; {_ADVICE}"
            )
        tensors[name] = value
    return {short: tensors[name] for name, short in _without_prefix(tensors).items()}


def _kind(value: object) -> str:
    if isinstance(value, StoredTensor):
        return "one tensor"
    if isinstance(value, Names):
        return "a dictionary"
    if isinstance(value, (str, int, float, list, tuple)) or value is None:
        return f"a value of the type {type(value).__name__}"
    return "a sparse or quantised tensor, or another object"


def _without_prefix(names: Mapping[str, object]) -> dict[str, str]:
    """Return names without the prefixes of wrapped networks, by the names in the file."""
    if any(len(name) > MAX_NAME for name in names):
        raise ValueError(f"expected names of at most {MAX_NAME:,} characters, found a longer one")
    prefix = ""
    while part := next((part for part in _PREFIXES if _all_start_with(names, prefix + part)), ""):
        prefix += part
    return {name: name.removeprefix(prefix) for name in names}


def _all_start_with(names: Collection[str], prefix: str) -> bool:
    return bool(names) and all(name.startswith(prefix) for name in names)
