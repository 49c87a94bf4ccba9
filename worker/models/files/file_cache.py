"""A folder of files that can be made again: shared by processes, verified, bounded in bytes."""

import hashlib
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from filelock import FileLock, Timeout

from worker.errors import ModelUnavailable

log = logging.getLogger(__name__)

UNBOUNDED: Final = 2**63

_PATIENCE: Final = 3600.0
"""Longer than most downloads take; a process that was stopped holds its lock for ever."""

_LOCK: Final = ".lock"
_DIGEST: Final = ".sha256"
_PARTIAL: Final = ".part"


class FileCache:
    """The model files of one machine and what is made from them.

    Beside a file lie its `.lock`, which also marks it as this cache's own, and where nothing else
    says what must be in it, a `.sha256`. A partial file keeps its name, so that another process can
    go on with it. Last use is the access time; a read-only folder has none, and needs none.
    """

    def __init__(
        self, folder: Path, *, limit: int = UNBOUNDED, patience: float = _PATIENCE
    ) -> None:
        """`limit` in bytes; above it the least recently used files go.

        `patience`: seconds to wait for a file that another process makes.
        """
        self.folder = folder
        self._patience = patience
        self._limit = limit
        self._hashes: dict[tuple[Path, int, int], str] = {}

    def check(self) -> None:
        """Raise `ModelUnavailable` unless the folder is there, or can be made."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error
        if not os.access(self.folder, os.W_OK):
            log.warning("%s cannot be written: only models already in it can be used", self.folder)

    @contextmanager
    def locked(self, path: Path) -> Iterator[None]:
        """One process at a time makes a file; the others wait and find it there.

        Raises `ModelUnavailable` when the folder cannot be written, or patience ends.
        """
        lock = FileLock(_beside(path, _LOCK))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=self._patience)
        except Timeout as error:
            raise ModelUnavailable(
                f"{path.name}: another process has been fetching or preparing it for "
                f"{self._patience:g} s; see what holds {lock.lock_file}, and end it if it hangs"
            ) from error
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            yield
        finally:
            lock.release()

    def partial(self, path: Path, *, tag: str = "new") -> Path:
        """Where to write a file before it is whole: the same name each time, one for each tag."""
        return path.with_name(f".{path.name}.{tag}{_PARTIAL}")

    def keep(self, partial: Path, path: Path, *, sealed: bool = False) -> None:
        """Give a whole file its name, then make room; call it with the lock held.

        `sealed` writes its SHA-256 beside it, for `intact`.
        """
        if sealed:
            _beside(path, _DIGEST).write_text(_sha256(partial))
        partial.replace(path)
        for left in path.parent.glob(f".{path.name}.*"):
            left.unlink(missing_ok=True)
        self.used(path)
        self._make_room(path)

    def sha256(self, path: Path) -> str:
        """The file's SHA-256, remembered while its size and time of change stay."""
        status = path.stat()
        key = (path, status.st_size, status.st_mtime_ns)
        if key not in self._hashes:
            self._hashes[key] = _sha256(path)
        return self._hashes[key]

    def intact(self, path: Path, *, sha256: str | None = None) -> bool:
        """Whether a file is there with this SHA-256, by default the one it was sealed with."""
        try:
            return self.sha256(path) == (sha256 or _beside(path, _DIGEST).read_text())
        except FileNotFoundError:
            return False

    def used(self, path: Path) -> None:
        """Mark a file as used now."""
        try:
            os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
        except OSError:
            pass  # A read-only folder, in which nothing is evicted either.

    def _make_room(self, kept: Path) -> None:
        """Delete what was used least recently until the rest is within the limit.

        Partial files that nobody writes go first. A file in use by another process may go too: who
        has it open keeps it, who has not finds it gone and fetches it again.
        """
        files = [file for file in self._files() if file.path != kept]
        total = sum(file.size for file in files) + kept.stat().st_size
        for file in sorted(files, key=lambda file: (not file.partial, file.used)):
            if total <= self._limit:
                return
            if file.partial and _is_locked(file.owner):
                continue
            log.info("evicting %s: %s is over %d bytes", file.path, self.folder, self._limit)
            file.path.unlink(missing_ok=True)
            _beside(file.path, _DIGEST).unlink(missing_ok=True)
            total -= file.size

    def _files(self) -> Iterator["_File"]:
        """Every file of this cache; what else lies in the folder is not ours to delete."""
        for lock in self.folder.rglob(f"*{_LOCK}"):
            owner = lock.with_name(lock.name.removesuffix(_LOCK))
            for path in (owner, *owner.parent.glob(f".{owner.name}.*{_PARTIAL}")):
                try:
                    status = path.stat()
                except FileNotFoundError:
                    continue
                yield _File(path, owner, status.st_size, status.st_atime_ns)

    def _unwritable(self, error: OSError) -> ModelUnavailable:
        return ModelUnavailable(
            f"the model cache {self.folder} cannot be written ({error}); make it writable, or "
            "set CUTWORK_MODEL_CACHE to a folder that is"
        )


class _File(NamedTuple):
    path: Path
    owner: Path
    size: int
    used: int

    @property
    def partial(self) -> bool:
        return self.path != self.owner


def _is_locked(path: Path) -> bool:
    try:
        with FileLock(_beside(path, _LOCK), timeout=0):
            return False
    except Timeout:
        return True


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
