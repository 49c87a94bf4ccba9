"""Model files: found by name, path or S3 reference, fetched once, verified, with their profile."""

import hashlib
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from producer.contract.s3_uri import ImageRef
from worker.config.access import is_foreign
from worker.errors import (
    Forbidden,
    LicenceNotAccepted,
    ModelHashMismatch,
    ModelInvalid,
    ModelUnavailable,
    UnknownModel,
)
from worker.models.files.catalogue import Entry, HttpsSource, ModelSource, catalogue
from worker.models.files.download import Progress, no_progress
from worker.models.files.file_cache import FileCache
from worker.models.files.profile import Profile
from worker.models.files.sources import SourceFailed, describe, fetch, tag

log = logging.getLogger(__name__)

SUFFIXES: Final = (".onnx", ".pth", ".pt", ".safetensors")
LONGEST_PROFILE: Final = 64 * 2**10
"""Bytes. A real one has a few hundred."""


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
    read: Callable[[ImageRef, int], bytes | None]
    """A small object beside a model, of at most so many bytes; None when there is none."""


class ModelStore:
    """The model files of one machine, in one folder that any number of processes may share."""

    def __init__(
        self,
        disk: FileCache,
        *,
        entries: Mapping[str, Entry] | None = None,
        accepted: Collection[str] = (),
        mirror: str | None = None,
        remote: RemoteModels | None = None,
        local_paths: bool = False,
        progress: Progress = no_progress,
    ) -> None:
        """`entries` stands in for the catalogue; `accepted` are the licences agreed to.

        `local_paths` lets a model be named by its path, as the local command line does.
        """
        self._disk = disk
        self._entries = catalogue() if entries is None else entries
        self._accepted = {licence.casefold() for licence in accepted}
        self._mirror = mirror
        self._remote = remote
        self._local_paths = local_paths
        self._progress = progress

    def find(
        self,
        name: str,
        *,
        sha256: str | None = None,
        loaded: Callable[[str], bool] = lambda _: False,
    ) -> ModelFile:
        """The file of a model, fetched if need be.

        A catalogue model of whose hash `loaded` is true needs no file: it is not looked for.

        Raises `UnknownModel`, `Forbidden`, `LicenceNotAccepted`, `ModelHashMismatch`,
        `ModelUnavailable`, `ModelInvalid`, or what the object store raises.
        """
        entry = self._entries.get(name)
        if entry is not None:
            self._check_licence(name, entry)
            path = self._disk.folder / entry.file
            if not loaded(entry.sha256):
                self._fetch_once(entry, path)
            self._disk.used(path)
            file = ModelFile(name=name, path=path, sha256=entry.sha256, profile=entry.profile)
        elif name.startswith("s3://"):
            file = self._from_s3(name)
        elif self._local_paths and Path(name).is_file():
            file = self._from_path(name)
        elif not self._local_paths and (is_foreign(name) or "/" in name):
            raise Forbidden(
                "model: a worker loads models of the catalogue, and s3://bucket/key from "
                f"CUTWORK_MODELS_FROM, from nowhere else; found {name!r:.200}"
            )
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
        return file

    def accepts(self, entry: Entry) -> bool:
        """Whether a catalogue model's licence lets it be used here."""
        return not entry.restricted or entry.licence.casefold() in self._accepted

    def cached(self, entry: Entry) -> bool:
        """Whether a catalogue model's file is already in the folder."""
        return (self._disk.folder / entry.file).is_file()

    def _check_licence(self, name: str, entry: Entry) -> None:
        if not self.accepts(entry):
            raise LicenceNotAccepted(
                f"model {name} is under {entry.licence}, which restricts its use ({entry.about}); "
                f"if you may use it, set CUTWORK_ACCEPT_LICENSES={entry.licence}"
            )

    def _fetch_once(self, entry: Entry, path: Path) -> None:
        # Without the lock at first: every job would take it, and a read-only folder has none.
        if not self._disk.intact(path, sha256=entry.sha256):
            with self._disk.locked(path):
                if not self._disk.intact(path, sha256=entry.sha256):
                    if path.exists():
                        log.warning("%s does not have its SHA-256; fetching it again", path)
                    self._fetch(entry, path)

    def _fetch(self, entry: Entry, path: Path) -> None:
        sources: list[ModelSource] = [*entry.sources]
        if self._mirror:
            url = f"{self._mirror.rstrip('/')}/{entry.file}"
            sources.insert(0, HttpsSource(kind="https", url=url))
        failures, mismatches = [], 0
        for source in sources:
            try:
                wrong = self._fetch_from(source, entry, path)
            except SourceFailed as error:
                log.info("%s is not to be had from %s", entry.file, error)
                failures.append(str(error))
                continue
            if wrong is None:
                return
            mismatches += 1
            failures.append(f"{describe(source)}: expected SHA-256 {entry.sha256}, found {wrong}")
            log.error("%s", failures[-1])
        kind = ModelHashMismatch if mismatches == len(failures) else ModelUnavailable
        raise kind(
            f"{entry.file} could not be fetched; put it into {self._disk.folder} by hand, or set "
            f"CUTWORK_MODEL_MIRROR. Tried: {'; '.join(failures)}"
        )

    def _fetch_from(self, source: ModelSource, entry: Entry, path: Path) -> str | None:
        """Fetch a file from one source; its SHA-256 if it is another than the entry's."""
        partial = self._disk.partial(path, tag=tag(source))
        resumed = partial.exists()
        fetch(source, partial, self._progress)
        found = self._disk.sha256(partial)
        if found == entry.sha256:
            self._disk.keep(partial, path)
            return None
        partial.unlink()
        if resumed:
            log.warning("what was kept of %s does not fit; fetching all of it", entry.file)
            return self._fetch_from(source, entry, path)
        return found

    def _from_path(self, name: str) -> ModelFile:
        path = Path(name).resolve()
        _check_suffix(path.name, name)
        beside = path.with_suffix(".json")
        profile = Profile()
        if beside.is_file():
            with beside.open("rb") as file:
                data = file.read(LONGEST_PROFILE + 1)
            profile = _profile(data, str(beside))
        return ModelFile(name=name, path=path, sha256=self._disk.sha256(path), profile=profile)

    def _from_s3(self, name: str) -> ModelFile:
        if self._remote is None:
            raise UnknownModel(f"model {name}: no object store is at hand here")
        suffix = PurePosixPath(name).suffix
        try:
            ref = ImageRef.parse(name)
            beside = ImageRef.parse(name.removesuffix(suffix) + ".json")
        except ValueError as error:
            raise UnknownModel(f"model: {error}, found {name!r}") from error
        _check_suffix(ref.key, name)
        etag = self._remote.etag(ref)
        if etag is None:
            raise UnknownModel(f"model {name}: expected an object, found none")
        # The key is a stranger's and never becomes a path; its digest does.
        digest = hashlib.sha256(f"{ref}\n{etag}".encode()).hexdigest()
        path = self._disk.folder / "s3" / (digest + suffix.lower())
        try:
            if not self._disk.intact(path):
                with self._disk.locked(path):
                    if not self._disk.intact(path):
                        partial = self._disk.partial(path)
                        self._remote.download(ref, etag, partial)
                        self._disk.keep(partial, path, sealed=True)
            sha256 = self._disk.sha256(path)
        except OSError as error:  # A full disk, or evicted again at once.
            raise ModelUnavailable(f"model {name} could not be kept: {error}") from error
        self._disk.used(path)
        data = self._remote.read(beside, LONGEST_PROFILE + 1)
        profile = Profile() if data is None else _profile(data, str(beside))
        return ModelFile(name=name, path=path, sha256=sha256, profile=profile)


def _profile(data: bytes, name: str) -> Profile:
    if len(data) > LONGEST_PROFILE:
        raise ModelInvalid(f"profile {name}: expected at most {LONGEST_PROFILE:,} bytes")
    return Profile.parse(data, name=name)


def _check_suffix(file: str, name: str) -> None:
    suffix = PurePosixPath(file).suffix
    if suffix.lower() not in SUFFIXES:
        raise ModelInvalid(
            f"model {name}: expected a file ending in {', '.join(SUFFIXES)}, found {suffix!r}"
        )
