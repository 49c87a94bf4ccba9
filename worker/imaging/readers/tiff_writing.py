"""Copies of a TIFF with other directories, for decoders that would read another picture."""

import struct
from collections.abc import Mapping, Sequence

from worker.imaging.readers.tiff_tags import TYPES, Directory, Entry, Form


def with_one_directory(data: bytes, directory: Directory) -> bytes:
    """Return a copy of a TIFF with this directory as its first and last."""
    form, view = directory.form, memoryview(data)
    start, _ = form.head.unpack_from(data)
    # A directory may lie within the header.
    end = max(directory.end, form.head.size)
    return b"".join(
        (
            form.head.pack(start, directory.start),
            view[form.head.size : end],
            form.offset.pack(0),
            view[end + form.offset.size :],
        )
    )


def with_directories(data: bytes, form: Form, pages: Sequence[Mapping[int, Entry]]) -> bytes:
    """Return a copy of a TIFF in which these directories take the place of its own."""
    start, _ = form.head.unpack_from(data)
    parts: list[bytes | memoryview] = [
        form.head.pack(start, len(data)),
        memoryview(data)[form.head.size :],
    ]
    position = len(data)
    for number, entries in enumerate(pages, 1):
        size = form.entries.size + len(entries) * form.entry.size + form.offset.size
        table, behind = form.entries.pack(len(entries)), b""
        for tag, entry in sorted(entries.items()):
            field = entry.values
            if len(field) > form.offset.size:
                behind, field = behind + field, form.offset.pack(position + size + len(behind))
            count = len(entry.values) // struct.calcsize(form.order + TYPES[entry.kind])
            table += form.entry.pack(tag, entry.kind, count, field)
        position += size + len(behind)
        parts += [table, form.offset.pack(position if number < len(pages) else 0), behind]
    return b"".join(parts)
