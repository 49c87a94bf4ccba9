"""The format of `torch.save` before PyTorch 1.6: five pickles, then the storages."""

import io
import struct
from typing import BinaryIO, Final

from worker.models.engines.torch.pickle_objects import Names, Refused
from worker.models.engines.torch.state_pickle import StatePickle
from worker.models.engines.torch.stored_tensors import DTYPES, Place, TensorFile
from worker.models.engines.torch.zip_file import MAX_PICKLE

_MAGIC: Final = 0x1950A86A20F9469CFC6C
_VERSION: Final = 1001


def read(file: BinaryIO) -> tuple[object, TensorFile]:
    """Return the object of a checkpoint, and where its storages are.

    Raises `Refused`, `ValueError`, and what `StatePickle.read` raises.
    """
    end = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = io.BytesIO(file.read(MAX_PICKLE))
    pickle = StatePickle(head)
    magic, version, system = pickle.read(), pickle.read(), pickle.read()
    if magic != _MAGIC or version != _VERSION or not isinstance(system, Names):
        raise ValueError("expected the header of a checkpoint")
    if system.get("little_endian") is not True:
        raise Refused("numbers in big-endian order")
    content, keys = pickle.read(), pickle.read()
    if not isinstance(keys, list):
        raise Refused("no list of storages")
    places: dict[str, Place] = {}
    position = head.tell()
    for key in keys:
        storage = pickle.storages[key]
        dtype = DTYPES.get(storage.kind)
        if dtype is None:
            raise Refused(f"numbers of the type {storage.kind[:40]}")
        file.seek(position)
        (elements,) = struct.unpack("<q", file.read(8))
        length = elements * dtype.itemsize
        if elements != storage.elements or not 0 <= length <= end - position - 8:
            raise ValueError("expected every storage inside the file")
        places[key] = Place(position + 8, length)
        position += 8 + length
    return content, places
