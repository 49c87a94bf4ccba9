"""Read single tensors from a checkpoint of either format."""

import math
from collections.abc import Mapping
from typing import BinaryIO, Final, NamedTuple

import torch
from torch import Tensor

from worker.models.engines.torch.pickle_objects import Refused, StoredTensor

DTYPES: Final[Mapping[str, torch.dtype]] = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class Place(NamedTuple):
    """Where the data of a storage is in the file, in bytes."""

    start: int
    length: int


TensorFile = Mapping[str, Place]
"""The places of storages by their keys."""


def read_tensor(file: BinaryIO, places: TensorFile, stored: StoredTensor) -> Tensor:
    """Read one tensor; no other part of its storage is read.

    Raises `Refused` where it has a type that is not supported, does not lie within its storage, or
    leaves gaps in it.
    """
    dtype = DTYPES.get(stored.storage.kind)
    if dtype is None:
        raise Refused(f"numbers of the type {stored.storage.kind[:40]}")
    elements = math.prod(stored.size)
    if elements == 0:
        return torch.empty(stored.size, dtype=dtype)
    steps = zip(stored.size, stored.stride, strict=True)
    extent = 1 + sum((side - 1) * stride for side, stride in steps)
    if extent > elements:
        raise Refused("a tensor that is a view with gaps")
    place = places.get(stored.storage.key)
    first, length = stored.offset * dtype.itemsize, extent * dtype.itemsize
    available = min(place.length, stored.storage.elements * dtype.itemsize) if place else 0
    if place is None or first + length > available:
        raise Refused("a tensor that is larger than its data")
    data = bytearray(length)
    file.seek(place.start + first)
    if file.readinto(data) != length:  # type: ignore[attr-defined]  # absent in typing.BinaryIO
        raise Refused("less data than the file's records say")
    return torch.frombuffer(data, dtype=dtype).as_strided(stored.size, stored.stride)
