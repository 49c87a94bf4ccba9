"""Target: `worker.models.engines.torch.checkpoint`, with pickles mutated by their operations.

A state dict, a `CutworkError`, or the `ValueError` for what is not a state dict is a pass. Any
other exception, a crash, or too much processor time or memory is a finding.
"""

import io
import pickle
import pickletools
import random
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Final

import atheris

with atheris.instrument_imports(include=["worker"]):
    from worker.errors import CutworkError
    from worker.models.engines.torch.checkpoint import read_state_dict
from tests.system.fuzz.seeds import LONGEST

SECONDS = 5
"""Processor time for a checkpoint; a seed takes 0.001."""

_UNREADABLE: Final = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError)
_FLOOD: Final = (
    # Tuples that hold the one before twice, lists of themselves, and numbers of any length.
    b"q\x63h\x63h\x63\x86" * 40,
    b"]q\x62(h\x62h\x62h\x62e" * 20,
    b"\x8b\xff\xff\xff\x7f",
    b"M\xff\xff\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"X\xff\xff\xff\x7f",
    b"(lp0\n",
    b"cos\nsystem\n(S'true'\ntR.",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ccollections\nOrderedDict\n)R",
)


def fuzz_one(data: bytes) -> None:
    """Read an input as a checkpoint."""
    suffix = ".safetensors" if data[8:9] == b"{" else ".pth"
    with tempfile.TemporaryDirectory() as name:
        path = (Path(name) / "model").with_suffix(suffix)
        path.write_bytes(data)
        started = time.process_time()
        with suppress(CutworkError, ValueError):
            read_state_dict(path)
        seconds = time.process_time() - started
    if seconds > SECONDS:
        raise AssertionError(f"expected at most {SECONDS} s of processor time, found {seconds:.1f}")


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Return a checkpoint with changes of its pickle, of its archive, or of its bytes."""
    choice = random.Random(seed)
    files = _files(data)
    if not _pickles(files) or choice.random() < 0.2:
        return bytes(atheris.Mutate(data, max_size))
    for _ in range(choice.choice((1, 1, 2, 4))):
        if names := _pickles(files):
            choice.choice(_CHANGES)(files, choice.choice(names), choice)
    held = io.BytesIO()
    kind = choice.choice((*[zipfile.ZIP_STORED] * 9, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(held, "w", kind) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=kind)
    changed = held.getvalue()
    return changed if len(changed) <= max_size else data


def _files(data: bytes) -> dict[str, bytes]:
    """Return the small files of an archive by name, as far as they can be read."""
    files: dict[str, bytes] = {}
    with suppress(*_UNREADABLE), zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            if info.file_size <= LONGEST:
                files[info.filename] = archive.read(info)
    return files


def _pickles(files: dict[str, bytes]) -> list[str]:
    return [name for name in files if name.endswith(".pkl")]


def _operations(data: bytes) -> list[bytes]:
    """Return the operations of a pickle with their arguments, as far as they can be read."""
    starts: list[int] = []
    with suppress(ValueError, pickle.UnpicklingError):
        for _, _, start in pickletools.genops(data):
            starts.append(start or 0)
    return [data[start:end] for start, end in pairwise((*starts, len(data)))] or [data]


def _operation(files: dict[str, bytes], name: str, choice: random.Random) -> None:
    """Remove, repeat, move or replace an operation of the pickle."""
    operations = _operations(files[name])
    place, other = (choice.randrange(len(operations)) for _ in range(2))
    kind = choice.randrange(5)
    if kind == 0:
        del operations[place]
    elif kind == 1:
        operations[place:place] = [operations[other]] * choice.choice((1, 2, 50))
    elif kind == 2:
        operations[place] = operations[other]
    elif kind == 3:
        code = choice.choice(pickletools.opcodes).code.encode("latin-1")
        operations[place] = code + operations[place][1:]
    else:
        operations.insert(place, choice.choice(_FLOOD))
    files[name] = b"".join(operations)


def _argument(files: dict[str, bytes], name: str, choice: random.Random) -> None:
    """Change a byte of an operation's argument."""
    operations = _operations(files[name])
    place = choice.randrange(len(operations))
    operation = bytearray(operations[place])
    if len(operation) > 1:
        operation[choice.randrange(1, len(operation))] = choice.choice((0, 1, 127, 128, 255))
    operations[place] = bytes(operation)
    files[name] = b"".join(operations)


def _entry(files: dict[str, bytes], name: str, choice: random.Random) -> None:
    """Rename, empty, or copy a file of the archive."""
    entry = choice.choice(list(files))
    kind = choice.randrange(3)
    if kind == 0:
        files[choice.choice((f"../{entry}", entry + "/", "archive/data/0", name))] = files.pop(
            entry
        )
    elif kind == 1:
        files[entry] = files[entry][: choice.randrange(len(files[entry]) + 1)]
    else:
        files[f"{entry}{choice.randrange(9)}"] = files[entry]


_CHANGES: Final[tuple[Callable[[dict[str, bytes], str, random.Random], None], ...]] = (
    *(_operation, _operation, _operation, _argument, _argument, _entry),
)


if __name__ == "__main__":
    atheris.Setup(sys.argv, fuzz_one, custom_mutator=mutate)
    atheris.Fuzz()
