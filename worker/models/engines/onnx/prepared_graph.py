"""Prepared graphs in the file cache, one per model file, output and precision."""

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from worker.errors import ModelUnavailable
from worker.models.engines.onnx.isolated import prepare_isolated
from worker.models.files.file_cache import FileCache, discard_on
from worker.models.files.store import ModelFile

log = logging.getLogger(__name__)

_VERSION: Final = 4
"""Part of a prepared file's name; raised when `graph.prepare` changes what it writes."""


Prepare = Callable[..., None]
"""`graph.prepare`, or a function with its arguments and errors."""


def prepared_graph(
    file: ModelFile,
    *,
    full_precision: bool,
    file_cache: FileCache,
    prepare: Prepare = prepare_isolated,
) -> Path:
    """Return the path of an ONNX file's prepared graph, which `prepare` makes if need be.

    An intact graph is used without its lock, so the folder may be read-only; a damaged one is
    prepared again. Raises what `prepare` raises, `FileNotFoundError` when the model file is
    gone, `ModelUnavailable` when the folder must be written and cannot be, and
    `ModelInvalid` when the file and the graph do not fit the cache together.
    """
    output, channel = file.profile.output, file.profile.channel
    # The output's name is untrusted, and therefore not part of the path itself. The channel only
    # helps to find an output that the profile does not name.
    choice = output if output is not None or channel is None else {"channel": channel}
    digest = hashlib.sha256(json.dumps(choice).encode()).hexdigest()[:16]
    suffix = "" if choice is None else f"-{digest}"
    precision = "float32" if full_precision else "as-is"
    name = f"{file.sha256}{suffix}-{precision}-v{_VERSION}.onnx"
    path = file_cache.folder / "prepared" / name

    def write() -> None:
        if path.exists():
            log.warning("%s is damaged; preparing it again", path)
        partial = file_cache.own_partial_path(path)
        try:
            # Half precision becomes twice as large.
            expected = file.path.stat().st_size * (2 if full_precision else 1)
            file_cache.free_disk(path, expected, beside=file.path)
            with discard_on(partial, Exception):
                prepare(
                    file.path,
                    partial,
                    name=file.name,
                    output=output,
                    channel=channel,
                    full_precision=full_precision,
                )
                length = partial.stat().st_size
                file_cache.make_room(path, length, name=file.name, beside=file.path)
                file_cache.commit(partial, path, write_digest=True)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise ModelUnavailable(
                f"the prepared graph of {file.name} cannot be written ({error}); "
                "is the disk of CUTWORK_MODEL_CACHE full?"
            ) from error

    file_cache.ensure(path, write)
    return path
