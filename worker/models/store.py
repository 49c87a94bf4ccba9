"""Model files on disk: found by name, path or S3 reference, fetched once, verified, shared."""

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filelock import FileLock

from producer.reference import ImageRef
from worker.errors import ModelHashMismatch, ModelInvalid, ModelUnavailable, UnknownModel
from worker.models.catalogue import Entry, HttpsSource, catalogue
from worker.models.profile import Profile
from worker.models.sources import Progress, SourceFailed, describe, fetch, no_progress

log = logging.getLogger(__name__)

SUFFIXES: Final = (".onnx", ".pth", ".pt", ".safetensors")


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """A model file on this machine."""

    name: str
    """As the job named it."""
    path: Path
    sha256: str
    profile: Profile


@dataclass(frozen=True, kw_only=True)
class RemoteModels:
    """How models are reached in the object store."""

    etag: Callable[[ImageRef], str | None]
    """The ETag of a model object that may be loaded, None when there is none."""
    download: Callable[[ImageRef, str, Path], None]
    """Writes the object with that ETag to a path."""


class ModelStore:
    """The model files of one machine, in one folder that any number of processes may share."""

    def __init__(
        self,
        folder: Path,
        *,
        entries: Mapping[str, Entry] | None = None,
        mirror: str | None = None,
        remote: RemoteModels | None = None,
        local_paths: bool = False,
        progress: Progress = no_progress,
    ) -> None:
        """`entries` stands in for the catalogue.

        `local_paths` lets a model be named by its path, as the local command line does.
        """
        self._folder = folder
        self._entries = catalogue() if entries is None else entries
        self._mirror = mirror
        self._remote = remote
        self._local_paths = local_paths
        self._progress = progress
        self._verified: dict[tuple[Path, int, int], str] = {}

    def find(self, name: str, *, sha256: str | None = None) -> ModelFile:
        """The file of a model, fetched if need be.

        Raises `UnknownModel`, `ModelHashMismatch`, `ModelUnavailable`, `ModelInvalid`, or what the
        object store raises.
        """
        entry = self._entries.get(name)
        if entry is not None:
            file = ModelFile(
                name=name, path=self._fetched(entry), sha256=entry.sha256, profile=entry.profile
            )
        elif name.startswith("s3://"):
            file = self._from_s3(name)
        elif self._local_paths and Path(name).is_file():
            path = Path(name).resolve()
            file = ModelFile(name=name, path=path, sha256=self._hash(path), profile=Profile())
        else:
            raise UnknownModel(
                f"model: expected one of {', '.join(self._entries)}, or s3://bucket/key"
                f"{' or a path' if self._local_paths else ''}, found {name!r}"
            )
        if sha256 is not None and file.sha256 != sha256:
            raise ModelHashMismatch(
                f"model {name}: expected SHA-256 {sha256}, found {file.sha256}; "
                "the file was changed, or the hash is another file's"
            )
        _check_suffix(file.path, name)
        return file

    def check_writable(self) -> None:
        """Raise `ModelUnavailable` unless files can be kept in the folder."""
        with self._locked(self._folder / "writable"):
            pass

    def cached(self, name: str) -> bool:
        """Whether a catalogue model's file is already in the folder."""
        entry = self._entries.get(name)
        return entry is not None and (self._folder / entry.file).is_file()

    def _fetched(self, entry: Entry) -> Path:
        path = self._folder / entry.file
        if path.is_file() and self._hash(path) == entry.sha256:
            return path  # Without the lock, which every job would otherwise take.
        with self._locked(path):
            if path.is_file():
                if self._hash(path) == entry.sha256:
                    return path
                log.warning("%s does not have its SHA-256; fetching it again", path)
            self._fetch(entry, path)
        return path

    def _fetch(self, entry: Entry, path: Path) -> None:
        mirror = (
            [HttpsSource(kind="https", url=f"{self._mirror.rstrip('/')}/{entry.file}")]
            if self._mirror
            else []
        )
        failures, mismatches = [], 0
        for source in [*mirror, *entry.sources]:
            with _temporary(path) as target:
                try:
                    fetch(source, target, self._progress)
                except SourceFailed as error:
                    log.info("%s is not to be had from %s", entry.file, error)
                    failures.append(str(error))
                    continue
                found = _sha256(target)
                if found == entry.sha256:
                    target.replace(path)
                    return
                mismatches += 1
                failures.append(
                    f"{describe(source)}: expected SHA-256 {entry.sha256}, found {found}"
                )
                log.error("%s", failures[-1])
        kind = ModelHashMismatch if mismatches == len(failures) else ModelUnavailable
        raise kind(
            f"{entry.file} could not be fetched; put it into {self._folder} by hand, or set "
            f"CUTWORK_MODEL_MIRROR. Tried: {'; '.join(failures)}"
        )

    def _from_s3(self, name: str) -> ModelFile:
        if self._remote is None:
            raise UnknownModel(f"model {name}: no object store is at hand here")
        try:
            ref = ImageRef.parse(name)
        except ValueError as error:
            raise UnknownModel(f"model: {error}, found {name!r}") from error
        _check_suffix(Path(ref.key), name)
        etag = self._remote.etag(ref)
        if etag is None:
            raise UnknownModel(f"model {name}: expected an object, found none")
        # The key is a stranger's and never becomes a path; its digest does.
        digest = hashlib.sha256(f"{ref}\n{etag}".encode()).hexdigest()
        path = self._folder / "s3" / (digest + Path(ref.key).suffix.lower())
        with self._locked(path):
            if not path.is_file():
                with _temporary(path) as target:
                    self._remote.download(ref, etag, target)
                    target.replace(path)
        return ModelFile(name=name, path=path, sha256=self._hash(path), profile=Profile())

    def _hash(self, path: Path) -> str:
        """The file's SHA-256, remembered while its size and time of change stay."""
        status = path.stat()
        key = (path, status.st_size, status.st_mtime_ns)
        if key not in self._verified:
            self._verified[key] = _sha256(path)
        return self._verified[key]

    @contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        """One process at a time fetches a file; the others wait and find it there."""
        lock = FileLock(path.with_name(path.name + ".lock"))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except OSError as error:
            raise ModelUnavailable(
                f"the model cache {self._folder} cannot be written ({error}); make it writable, or "
                "set CUTWORK_MODEL_CACHE to a folder that is"
            ) from error
        try:
            yield
        finally:
            lock.release()


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to, so that the rename is atomic; removed if left behind."""
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=".part", dir=path.parent)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_suffix(path: Path, name: str) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise ModelInvalid(
            f"model {name}: expected a file ending in {', '.join(SUFFIXES)}, found {path.suffix!r}"
        )
