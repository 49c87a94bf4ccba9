"""Prepared graphs on disk: each is made once per file, output and precision."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Final

from worker.errors import ModelUnavailable
from worker.models.engines.onnx.graph import prepare
from worker.models.files.file_cache import FileCache

log = logging.getLogger(__name__)

_VERSION: Final = 2
"""Part of a prepared file's name; raised when `graph.prepare` changes what it writes."""


def prepared(
    path: Path,
    *,
    name: str,
    sha256: str,
    output: str | int | None,
    full_precision: bool,
    disk: FileCache,
) -> Path:
    """The prepared form of the ONNX file with this hash.

    One that is there is taken without its lock, so the folder may be read-only; one that was
    damaged is made again. Raises what `graph.prepare` raises, `FileNotFoundError` when `path` is
    gone, and `ModelUnavailable` when the folder must be written and cannot be.
    """
    chosen = "" if output is None else "-" + _digest(json.dumps(output))
    precision = "float32" if full_precision else "as-is"
    target = disk.folder / "prepared" / f"{sha256}{chosen}-{precision}-v{_VERSION}.onnx"
    if not disk.intact(target):
        with disk.locked(target):
            if not disk.intact(target):
                if target.exists():
                    log.warning("%s is damaged; preparing it again", target)
                partial = disk.partial(target)
                try:
                    prepare(path, partial, name=name, output=output, full_precision=full_precision)
                    disk.keep(partial, target, sealed=True)
                except FileNotFoundError:
                    raise
                except OSError as error:
                    raise ModelUnavailable(
                        f"the prepared graph of {name} cannot be written ({error}); "
                        "is the disk of CUTWORK_MODEL_CACHE full?"
                    ) from error
    disk.used(target)
    return target


def _digest(text: str) -> str:
    """An output's name is a stranger's and never becomes a path; its digest does."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
