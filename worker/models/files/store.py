"""Model files by name, path or S3 URI: fetched once, verified, with their profile."""

import hashlib
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

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
from worker.models.files.catalogue import CatalogueEntry, HttpsSource, ModelSource, catalogue
from worker.models.files.download import Progress, no_progress
from worker.models.files.file_cache import FileCache, discard_on
from worker.models.files.profile import Profile
from worker.models.files.sources import SourceFailed, describe, fetch, source_tag

log = logging.getLogger(__name__)

SUFFIXES: Final = (".onnx", ".pth", ".pt", ".safetensors")
LONGEST_PROFILE: Final = 64 * 2**10
"""Bytes; real profiles have a few hundred."""


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """A model file on this machine."""

    name: str
    """The name that the job gave."""
    path: Path
    sha256: str
    profile: Profile


class ModelObject(NamedTuple):
    """What the object store says about a model."""

    etag: str
    length: int
    """In bytes."""


@dataclass(frozen=True, kw_only=True)
class RemoteModels:
    """Access to models in the object store."""

    find: Callable[[ImageRef], ModelObject | None]
    """Returns a model object's facts, or None if it does not exist; checks the allow list."""
    download: Callable[[ImageRef, str, Path], None]
    """Writes the object with this ETag to a path."""
    read: Callable[[ImageRef, int], bytes | None]
    """Returns a small object, of at most this many bytes; None if it does not exist."""


class ModelStore:
    """The model files of one machine, in a folder that any number of processes may share."""

    def __init__(
        self,
        file_cache: FileCache,
        *,
        entries: Mapping[str, CatalogueEntry] | None = None,
        accepted: Collection[str] = (),
        mirror: str | None = None,
        remote: RemoteModels | None = None,
        local_paths: bool = False,
        progress: Progress = no_progress,
    ) -> None:
        """`entries` replaces the catalogue; `accepted` lists the restricted licences agreed to.

        `mirror` is the URL of a folder that is tried before the catalogue's sources. With
        `local_paths`, a model's name can be its path, as the local command line allows.
        """
        self._file_cache = file_cache
        self._entries = catalogue() if entries is None else entries
        self._accepted = {licence.casefold() for licence in accepted}
        self._mirror = mirror
        self._remote = remote
        self._local_paths = local_paths
        self._progress = progress

    def resolve(
        self,
        name: str,
        *,
        sha256: str | None = None,
        is_loaded: Callable[[str], bool] = lambda _: False,
    ) -> ModelFile:
        """Return the file of a model and fetch it if need be.

        The file of a catalogue model is not looked for when `is_loaded` is true of its hash.

        Raises `UnknownModel`, `Forbidden`, `LicenceNotAccepted`, `ModelHashMismatch`,
        `ModelUnavailable`, `ModelInvalid`, or what the object store raises.
        """
        entry = self._entries.get(name)
        if entry is not None:
            self._check_licence(name, entry)
            path = self._file_cache.folder / entry.file
            if is_loaded(entry.sha256):
                self._file_cache.mark_used(path)
            else:
                fetch_entry = partial(self._fetch, entry, path)
                self._file_cache.ensure(path, fetch_entry, sha256=entry.sha256)
            file = ModelFile(name=name, path=path, sha256=entry.sha256, profile=entry.profile)
        elif name.startswith("s3://"):
            file = self._from_s3(name)
        elif self._local_paths and Path(name).is_file():
            file = self._from_path(name)
        elif not self._local_paths and (is_foreign(name) or "/" in name):
            raise Forbidden(
                "model: expected a name in the catalogue, or s3://bucket/key within "
                f"CUTWORK_MODELS_FROM; found {name!r:.200}"
            )
        else:
            raise self._unknown(name)
        _check_hash(name, found=file.sha256, expected=sha256)
        return file

    def check(self, name: str, *, sha256: str | None = None) -> None:
        """Refuse a model that `resolve` would refuse whatever the files contain; fetches nothing.

        Raises `UnknownModel`, `LicenceNotAccepted`, `ModelHashMismatch` or `ModelInvalid`.
        """
        entry = self._entries.get(name)
        if entry is not None:
            self._check_licence(name, entry)
            _check_hash(name, found=entry.sha256, expected=sha256)
        elif name.startswith("s3://"):
            _check_suffix(name, name)
        elif "/" not in name and not is_foreign(name):
            raise self._unknown(name)

    def is_licence_accepted(self, entry: CatalogueEntry) -> bool:
        """Return whether a catalogue model's licence allows its use here."""
        return not entry.restricted or entry.licence.casefold() in self._accepted

    def is_cached(self, entry: CatalogueEntry) -> bool:
        """Return whether a catalogue model's file is already in the folder."""
        return (self._file_cache.folder / entry.file).is_file()

    def _unknown(self, name: str) -> UnknownModel:
        return UnknownModel(
            f"model: expected one of {', '.join(self._entries)}, or s3://bucket/key"
            f"{' or a path' if self._local_paths else ''}, found {name!r}"
        )

    def _check_licence(self, name: str, entry: CatalogueEntry) -> None:
        if not self.is_licence_accepted(entry):
            raise LicenceNotAccepted(
                f"model {name} is under {entry.licence}, which restricts its use ({entry.about}); "
                f"if you may use it, set CUTWORK_ACCEPT_LICENSES={entry.licence}"
            )

    def _fetch(self, entry: CatalogueEntry, path: Path) -> None:
        """Fetch a file from the first source that has it with the right hash."""
        if path.exists():
            log.warning("%s does not have its SHA-256; fetching it again", path)
        if entry.bytes is not None:
            self._file_cache.make_room(path, entry.bytes, name=entry.file)
        sources: list[ModelSource] = [*entry.sources]
        if self._mirror:
            url = f"{self._mirror.rstrip('/')}/{entry.file}"
            sources.insert(0, HttpsSource(kind="https", url=url))
        failures: list[SourceFailed | ModelHashMismatch] = []
        for source in sources:
            try:
                return self._fetch_from(source, entry, path)
            except SourceFailed as error:
                log.info("%s could not be fetched from %s", entry.file, error)
                failures.append(error)
            except ModelHashMismatch as error:
                failures.append(error)
        is_mismatch = all(isinstance(failure, ModelHashMismatch) for failure in failures)
        raise (ModelHashMismatch if is_mismatch else ModelUnavailable)(
            f"{entry.file} could not be fetched; copy it into {self._file_cache.folder}, or set "
            f"CUTWORK_MODEL_MIRROR. Tried: {'; '.join(map(str, failures))}"
        )

    def _fetch_from(self, source: ModelSource, entry: CatalogueEntry, path: Path) -> None:
        download = self._file_cache.partial_path(path, tag=source_tag(source))
        is_resumed = download.exists()
        fetch(source, download, self._progress)
        sha256 = self._file_cache.sha256(download)
        if sha256 == entry.sha256:
            self._file_cache.commit(download, path)
            return
        download.unlink()
        if not is_resumed:
            message = f"{describe(source)}: expected SHA-256 {entry.sha256}, found {sha256}"
            log.error("%s", message)
            raise ModelHashMismatch(message)
        log.warning("the partial file of %s has other bytes; fetching all of it", entry.file)
        self._fetch_from(source, entry, path)

    def _from_path(self, name: str) -> ModelFile:
        path = Path(name).resolve()
        _check_suffix(path.name, name)
        profile_path = path.with_suffix(".json")
        profile = Profile()
        if profile_path.is_file():
            with profile_path.open("rb") as file:
                profile = _parse_profile(file.read(LONGEST_PROFILE + 1), str(profile_path))
        sha256 = self._file_cache.sha256(path)
        return ModelFile(name=name, path=path, sha256=sha256, profile=profile)

    def _from_s3(self, name: str) -> ModelFile:
        remote = self._remote
        if remote is None:
            raise UnknownModel(f"model {name}: no object store is configured here")
        suffix = PurePosixPath(name).suffix
        try:
            ref = ImageRef.parse(name)
            profile_ref = ImageRef.parse(name.removesuffix(suffix) + ".json")
        except ValueError as error:
            raise UnknownModel(f"model: {error}, found {name!r}") from error
        _check_suffix(ref.key, name)
        found = remote.find(ref)
        if found is None:
            raise UnknownModel(f"model {name}: expected an object, found none")
        # The key is untrusted, and therefore not part of the path; its digest is.
        digest = hashlib.sha256(f"{ref}\n{found.etag}".encode()).hexdigest()
        path = self._file_cache.folder / "s3" / (digest + suffix.lower())

        def write() -> None:
            download = self._file_cache.partial_path(path)
            self._file_cache.make_room(path, found.length, name=name)
            # Each download starts at the beginning, so a part of one is of no use.
            with discard_on(download, Exception):
                remote.download(ref, found.etag, download)
                self._file_cache.commit(download, path, write_digest=True)

        try:
            self._file_cache.ensure(path, write)
            sha256 = self._file_cache.sha256(path)
        except OSError as error:  # The disk is full, or the file was evicted immediately.
            raise ModelUnavailable(f"model {name} could not be stored: {error}") from error
        data = remote.read(profile_ref, LONGEST_PROFILE + 1)
        profile = Profile() if data is None else _parse_profile(data, str(profile_ref))
        return ModelFile(name=name, path=path, sha256=sha256, profile=profile)


def _parse_profile(data: bytes, name: str) -> Profile:
    if len(data) > LONGEST_PROFILE:
        raise ModelInvalid(f"profile {name}: expected at most {LONGEST_PROFILE:,} bytes")
    return Profile.parse(data, name=name)


def _check_hash(name: str, *, found: str, expected: str | None) -> None:
    if expected is not None and found != expected:
        raise ModelHashMismatch(
            f"model {name}: expected SHA-256 {expected}, found {found}; "
            "the file was changed, or the hash belongs to another file"
        )


def _check_suffix(file: str, name: str) -> None:
    suffix = PurePosixPath(file).suffix
    if suffix.lower() not in SUFFIXES:
        raise ModelInvalid(
            f"model {name}: expected a file ending in {', '.join(SUFFIXES)}, found {suffix!r}"
        )
