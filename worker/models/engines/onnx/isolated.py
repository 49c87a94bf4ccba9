"""Prepare a graph in a process of its own, which a hostile file can neither hang nor exhaust.

The libraries that read a model hold the interpreter's lock, and some of their algorithms need time
or memory that grows exponentially with the size of a file. `python -m` of this module is the
process; it limits its own CPU seconds and memory, and ends when the worker does.
"""

import json
import logging
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import onnx
import onnxruntime

from worker.errors import DeviceOutOfMemory, ModelInvalid, ModelUnavailable
from worker.models.engines.onnx.batch_axis import infer_one_image
from worker.models.engines.onnx.graph import prepare
from worker.models.engines.onnx.session import session_options
from worker.models.process_end import die_with_parent
from worker.models.watchdog import restart_clock

log = logging.getLogger(__name__)

_MEGABYTE: Final = 2**20
_OUT_OF_MEMORY: Final = re.compile(r"bad[_ ]alloc|Failed to allocate")
_MAX_TRACEBACK: Final = 2048
"""Bytes of a traceback that are shown."""
_CRASHES: Final = {signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV}
_SECRETS: Final = ("AWS_", "CUTWORK_")
"""Beginnings of variables that the process does not need."""


class _Limits(NamedTuple):
    cpu_seconds: int
    memory: int
    """Bytes of data; libraries and other files that are mapped do not count."""
    seconds: int

    @classmethod
    def of(cls, file_bytes: int) -> "_Limits":
        """Return the limits for a file; ISNet takes 5 s, and 800 of 1,900 MB."""
        cpu_seconds = 20 + file_bytes // (2 * _MEGABYTE)
        return cls(cpu_seconds, 512 * _MEGABYTE + 16 * file_bytes, 60 + 10 * cpu_seconds)


def prepare_isolated(
    source: Path,
    target: Path,
    *,
    full_precision: bool,
    name: str,
    output: str | int | None = None,
    channel: int | None = None,
) -> None:
    """Do what `graph.prepare` does, in a process with limits, and load the result there once.

    Raises what `graph.prepare` raises; `ModelInvalid` where the process exceeds its limits or
    crashes, and `ModelUnavailable` where it is ended from outside or the machine is too slow.
    """
    limits = _Limits.of(source.stat().st_size)
    request = {
        "parent": os.getpid(),
        "limits": limits,
        "source": str(source),
        "target": str(target),
        "options": {
            "full_precision": full_precision,
            "name": name,
            "output": output,
            "channel": channel,
        },
    }
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(_SECRETS)
    } | {"PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"}
    restart_clock(extra=limits.seconds)
    try:
        process = subprocess.run(
            [sys.executable, "-m", __name__],
            input=json.dumps(request).encode(),
            capture_output=True,
            # A terminal sends Ctrl-C to the worker's whole group; the worker finishes its jobs.
            start_new_session=True,
            env=environment,
            timeout=limits.seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelUnavailable(
            f"{name} was not prepared within {limits.seconds} s, of which it may use "
            f"{limits.cpu_seconds} s of a core: the machine is too busy"
        ) from error
    if process.returncode != 0:
        raise _process_error(process, name=name, limits=limits)
    reply = json.loads(process.stdout)
    for line in reply["log"]:
        log.warning("%s", line)
    _raise_reply(reply, name=name, limits=limits)


def _process_error(
    process: "subprocess.CompletedProcess[bytes]", *, name: str, limits: _Limits
) -> Exception:
    """Return the error behind a process that ended without a reply."""
    if process.returncode > 0:
        output = process.stderr[-_MAX_TRACEBACK:].decode(errors="replace")
        return RuntimeError(f"the process that prepares {name} failed: {output}")
    ended = signal.Signals(-process.returncode)
    if ended == signal.SIGXCPU:
        return ModelInvalid(
            f"{name}: expected a graph that is prepared within {limits.cpu_seconds} s of a core, "
            "found one that takes longer"
        )
    if ended in _CRASHES:
        return ModelInvalid(
            f"{name}: the libraries that read ONNX files crash on it ({ended.name}); is it damaged?"
        )
    return ModelUnavailable(
        f"{name}: the process that prepares it was ended by {ended.name}; the machine may be out "
        "of memory"
    )


def _raise_reply(reply: dict[str, Any], *, name: str, limits: _Limits) -> None:
    """Raise the error that the process met, if any."""
    message = reply["message"]
    match reply["error"]:
        case "ModelInvalid":
            raise ModelInvalid(message)
        case "OSError":
            raise OSError(reply["errno"], message)
        case "MemoryError":
            raise ModelInvalid(
                f"{name}: expected a graph that is prepared and loaded within "
                f"{limits.memory:,} bytes of memory, found one that needs more"
            )


class _Lines(logging.Handler):
    """Appends the text of warnings to a list."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())


def _lower(kind: int, value: int) -> None:
    """Lower a limit of this process, which only a privileged one could raise."""
    _, hard = resource.getrlimit(kind)
    soft = value if hard == resource.RLIM_INFINITY else min(value, hard)
    # The hard limit stays: past it, the kernel would kill the process without its own signal.
    resource.setrlimit(kind, (soft, hard))


def main() -> None:
    """Read a request from standard input, and write the reply to standard output."""
    die_with_parent()
    request = json.load(sys.stdin)
    if os.getppid() != request["parent"]:
        sys.exit("the worker that needs the graph ended before this process could note it")
    limits = _Limits(*request["limits"])
    _lower(resource.RLIMIT_CPU, limits.cpu_seconds)
    if sys.platform == "linux":  # macOS does not enforce it, and may refuse to set it.
        _lower(resource.RLIMIT_DATA, limits.memory)
    _lower(resource.RLIMIT_CORE, 0)
    reply = answer(Path(request["source"]), Path(request["target"]), request["options"])
    json.dump(reply, sys.stdout)


def answer(source: Path, target: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Prepare a graph in this process, with options of `graph.prepare`, and return the reply."""
    reply: dict[str, Any] = {"error": None, "message": ""}
    warnings: list[str] = []
    logging.getLogger().addHandler(_Lines(warnings))
    try:
        prepare(source, target, **options)
        _try_to_load(target)
    except ModelInvalid as error:
        reply = {"error": "ModelInvalid", "message": str(error)}
    except OSError as error:
        reply = {"error": "OSError", "errno": error.errno, "message": error.strerror}
    except (MemoryError, DeviceOutOfMemory):
        reply = {"error": "MemoryError", "message": ""}
    return reply | {"log": warnings}


def _try_to_load(graph: Path) -> None:
    """Do here what a worker does with a prepared graph, so that it exceeds no limit there.

    Raises `MemoryError`. The worker meets other errors again, and reports them for its own device.
    """
    for load in (_infer_shapes, _open_session):
        try:
            load(graph)
        except MemoryError:
            raise
        except Exception as error:  # ONNX Runtime's exceptions have no other common base class.
            if _OUT_OF_MEMORY.search(str(error)):
                raise MemoryError from error


def _infer_shapes(graph: Path) -> None:
    model = onnx.load(graph)
    weights = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        if value.name not in weights:
            infer_one_image(model, value.name)


def _open_session(graph: Path) -> None:
    onnxruntime.InferenceSession(
        str(graph), session_options("cpu", threads=1), providers=["CPUExecutionProvider"]
    )


if __name__ == "__main__":
    main()
