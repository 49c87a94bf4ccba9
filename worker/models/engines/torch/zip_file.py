"""The zip format of `torch.save`: `NAME/data.pkl`, and one record per storage in `NAME/data/`."""

import io
import struct
from typing import BinaryIO, Final
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from worker.models.engines.torch.pickle_objects import Refused
from worker.models.engines.torch.state_pickle import StatePickle
from worker.models.engines.torch.stored_tensors import Place, TensorFile

MAX_PICKLE: Final = 4 * 2**20
"""Bytes of a checkpoint's pickle; ISNet's has 92,000."""
_MAX_DIRECTORY: Final = 4 * 2**20
"""Bytes of the archive's directory; ISNet's has 100,000."""
_LOCAL_HEADER: Final = struct.Struct("<4s22xHH")


def read(file: BinaryIO) -> tuple[object, TensorFile]:
    """Return the object of a checkpoint, and where its storages are.

    Raises `Refused`, `BadZipFile`, and what `StatePickle.read` raises.
    """
    end = file.seek(0, io.SEEK_END)
    with ZipFile(_DirectoryReader(file)) as archive:
        records = {record.filename: record for record in archive.infolist()}
        if len(records) != len(archive.infolist()):
            raise Refused("two records of one name")
    roots = [name for name in records if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(roots) != 1:
        raise Refused(f"{len(roots)} records named data.pkl")
    folder = roots[0].removesuffix("data.pkl")
    places = {
        name.removeprefix(f"{folder}data/"): _place(file, record, end=end)
        for name, record in records.items()
        if name.startswith(f"{folder}data/")
    }
    byte_order = records.get(f"{folder}byteorder")
    if byte_order is not None and _bytes(file, byte_order, end=end) != b"little":
        raise Refused("numbers in big-endian order")
    pickle = io.BytesIO(_bytes(file, records[roots[0]], end=end))
    return StatePickle(pickle).read(), places


def _place(file: BinaryIO, record: ZipInfo, *, end: int) -> Place:
    if record.compress_type != ZIP_STORED or record.compress_size != record.file_size:
        raise Refused("a compressed record")
    file.seek(record.header_offset)
    signature, name_length, extra_length = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    start = record.header_offset + _LOCAL_HEADER.size + name_length + extra_length
    if signature != b"PK\3\4" or start + record.file_size > end:
        raise BadZipFile(f"expected the record {record.filename[:80]!r} inside the file")
    return Place(start, record.file_size)


def _bytes(file: BinaryIO, record: ZipInfo, *, end: int) -> bytes:
    place = _place(file, record, end=end)
    if place.length > MAX_PICKLE:
        raise Refused(f"a pickle of {place.length:,} bytes")
    file.seek(place.start)
    return file.read(place.length)


class _DirectoryReader:
    """A file of which `ZipFile` reads only a directory of bounded size."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if size > _MAX_DIRECTORY:
            raise Refused(f"a directory of {size:,} bytes")
        return self._file.read(_MAX_DIRECTORY if size < 0 else size)
