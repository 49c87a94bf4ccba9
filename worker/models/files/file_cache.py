"""The file cache: a folder of reproducible files, verified, bounded, shared by processes."""

import errno
import hashlib
import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from filelock import FileLock, Timeout

from worker.errors import ModelInvalid, ModelUnavailable
from worker.models.watchdog import waiting

log = logging.getLogger(__name__)

UNBOUNDED: Final = 2**63

_LOCK_TIMEOUT: Final = 3600.0
"""Seconds. Longer than most downloads; a stopped process holds its lock indefinitely."""

_DISK_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_LOCK: Final = ".lock"
_DIGEST: Final = ".sha256"
_PARTIAL: Final = ".part"


class FileCache:
    """The model files of one machine and the files derived from them.

    Next to each file lies its `.lock`, which also marks it as belonging to this cache. Where no
    other source tells its hash, a `.sha256` lies there too. A partial file has a predictable name,
    so that another process can resume it. The access time records the last use; a read-only folder
    needs none, because nothing is evicted from it.
    """

    def __init__(
        self, folder: Path, *, max_bytes: int = UNBOUNDED, lock_timeout: float = _LOCK_TIMEOUT
    ) -> None:
        """Above `max_bytes`, the least recently used files are deleted.

        `lock_timeout`: seconds to wait for a file that another process writes.
        """
        self.folder = folder
        self._lock_timeout = lock_timeout
        self._max_bytes = max_bytes
        self._hashes: dict[tuple[Path, int, int], str] = {}

    def check(self) -> None:
        """Raise `ModelUnavailable` unless the folder exists or can be created."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error
        if not os.access(self.folder, os.W_OK):
            log.warning("%s cannot be written: only models already in it can be used", self.folder)

    def ensure(self, path: Path, write: Callable[[], None], *, sha256: str | None = None) -> None:
        """Call `write` unless a file is intact (see `is_intact`), then mark it as used.

        An intact file needs no lock, so the folder may be read-only. Otherwise one process writes
        while the others wait. Raises what `write` and `lock` raise.
        """
        if not self.is_intact(path, sha256=sha256):
            with self.lock(path):
                if not self.is_intact(path, sha256=sha256):
                    write()
        self.mark_used(path)

    @contextmanager
    def lock(self, path: Path) -> Iterator[None]:
        """Hold the lock that lets one process at a time write a file.

        Raises `ModelUnavailable` when the folder cannot be written, or after the lock timeout.
        """
        lock = FileLock(_sidecar(path, _LOCK))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with waiting():
                lock.acquire(timeout=self._lock_timeout)
        except Timeout as error:
            raise ModelUnavailable(
                f"{path.name}: another process has been fetching or preparing it for "
                f"{self._lock_timeout:g} s; see what holds {lock.lock_file}, and end it if it hangs"
            ) from error
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            yield
        finally:
            lock.release()

    def partial_path(self, path: Path, *, tag: str = "new") -> Path:
        """Return where to write a file until it is complete: always the same path for a tag."""
        return path.with_name(f".{path.name}.{tag}{_PARTIAL}")

    def own_partial_path(self, path: Path) -> Path:
        """Return where only the caller writes a file until it is complete; call it with the lock.

        Another process may still write a partial file without the lock, if it was started by a
        process that has ended. Such files are deleted.
        """
        self._discard_partials(path)
        return self.partial_path(path, tag=secrets.token_hex(8))

    def commit(self, partial: Path, path: Path, *, write_digest: bool = False) -> None:
        """Give a complete file its name, then evict others; call it with the lock held.

        `write_digest` stores its SHA-256 next to it, for `is_intact`.
        """
        if write_digest:
            _sidecar(path, _DIGEST).write_text(_sha256(partial))
        partial.replace(path)
        self._discard_partials(path)
        self.mark_used(path)
        self._evict(path, incoming=path.stat().st_size)

    def make_room(self, path: Path, length: int, *, name: str, beside: Path | None = None) -> None:
        """Evict files until one of `length` bytes fits; call it before writing, with the lock held.

        `beside` is the model file that it is made from, which must fit too if this cache has it.
        Raises `ModelInvalid` if they are larger than the whole cache, and `ModelUnavailable` if the
        disk has too little space even after the eviction. `name` is the model's, for errors.
        """
        beside_bytes = self._owned_bytes(beside)
        if length + beside_bytes > self._max_bytes:
            found = f"{length:,}"
            if beside_bytes:
                found = f"a file of {beside_bytes:,} and a prepared graph of {length:,}"
            raise ModelInvalid(
                f"model {name}: expected at most {self._max_bytes:,} bytes "
                f"(CUTWORK_MODEL_CACHE_BYTES), found {found}"
            )
        written = sum(part.stat().st_size for part in path.parent.glob(f".{path.name}.*{_PARTIAL}"))
        self._evict(path, beside, incoming=length + beside_bytes, free=length - written)
        free = shutil.disk_usage(path.parent).free
        if free < length - written:
            raise ModelUnavailable(
                f"model {name}: expected {length - written:,} bytes of free disk space in "
                f"{self.folder}, found {free:,}; make room, or set CUTWORK_MODEL_CACHE to a larger "
                "disk"
            )

    def free_disk(self, path: Path, length: int, *, beside: Path) -> None:
        """Evict files other than these two until the disk has `length` bytes, or none is left."""
        self._evict(path, beside, incoming=0, free=length)

    def sha256(self, path: Path) -> str:
        """Return a file's SHA-256, cached as long as its size and modification time stay."""
        status = path.stat()
        key = (path, status.st_size, status.st_mtime_ns)
        if key not in self._hashes:
            self._hashes[key] = _sha256(path)
        return self._hashes[key]

    def is_intact(self, path: Path, *, sha256: str | None = None) -> bool:
        """Return whether a file exists with this SHA-256, by default the one stored next to it."""
        try:
            return self.sha256(path) == (sha256 or _sidecar(path, _DIGEST).read_text())
        except FileNotFoundError:
            return False

    def mark_used(self, path: Path) -> None:
        """Set a file's access time to now."""
        try:
            os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
        except OSError:
            pass  # A read-only folder, from which nothing is evicted.

    def _discard_partials(self, path: Path) -> None:
        for leftover in path.parent.glob(f".{path.name}.*"):
            leftover.unlink(missing_ok=True)

    def _owned_bytes(self, path: Path | None) -> int:
        """Return the size of a file if this cache has it, and may therefore evict it."""
        if path is None or not _sidecar(path, _LOCK).exists():
            return 0
        return path.stat().st_size if path.is_relative_to(self.folder) else 0

    def _evict(self, *except_for: Path | None, incoming: int, free: int = 0) -> None:
        """Delete the least recently used files until the rest and `incoming` bytes fit the limit.

        Also until the disk has `free` bytes of space. The files `except_for` stay.

        Partial files that no process writes are deleted first. A file that another process uses may
        be deleted too: a process that has it open keeps its data, any other fetches it again.
        """
        files = [file for file in self._files() if file.owner not in except_for]
        total = sum(file.size for file in files) + incoming
        for file in sorted(files, key=lambda file: (file.path == file.owner, file.last_used)):
            if total <= self._max_bytes and shutil.disk_usage(self.folder).free >= free:
                return
            if file.path != file.owner and _is_locked(file.owner):
                continue
            log.info("evicting %s: %s is over %d bytes", file.path, self.folder, self._max_bytes)
            file.path.unlink(missing_ok=True)
            _sidecar(file.path, _DIGEST).unlink(missing_ok=True)
            total -= file.size

    def _files(self) -> Iterator["_File"]:
        """Yield every file of this cache; other files in the folder must not be deleted."""
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


@contextmanager
def discard_on(partial: Path, *errors: type[Exception]) -> Iterator[None]:
    """Delete a partial file if the block raises one of these errors, or fills the disk."""
    try:
        yield
    except Exception as error:
        is_disk_full = isinstance(error, OSError) and error.errno in _DISK_FULL
        if is_disk_full or isinstance(error, errors):
            partial.unlink(missing_ok=True)
        raise


class _File(NamedTuple):
    path: Path
    owner: Path
    """The complete file, which a partial file belongs to."""
    size: int
    last_used: int
    """Nanoseconds since the epoch."""


def _is_locked(path: Path) -> bool:
    try:
        with FileLock(_sidecar(path, _LOCK), timeout=0):
            return False
    except Timeout:
        return True


def _sidecar(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
