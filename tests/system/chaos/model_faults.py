"""A model cache whose disk is full, and model files that vanish or rot under a running worker."""

import io
import random
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests.system.chaos.ground import Ground, until
from tests.system.chaos.load import Singles
from tests.system.chaos.rounds import Fault

_WEIGHTS: Final = 2**20
"""Bytes of a model's weights, which do nothing."""
_SMALL: Final = 2**18
"""Bytes no file may grow beyond while the disk is full; logs stay below."""
_A_MODEL: Final = (("model", "s3://models/{prefix}.onnx"),)
_ENOUGH: Final = 1.5
"""Seconds the disk is full."""


def _full_disk(ground: Ground, load: Singles) -> None:
    """No worker may write a file of a model's size; lifted, all is well again."""
    _put_model(ground, load)
    _limit_files(ground, _SMALL)
    load.send()
    until(lambda: any(b"model_unavailable" in log for log in _logs(ground)), "a full disk")
    time.sleep(_ENOUGH)
    _limit_files(ground, resource.RLIM_INFINITY)


def _when_it_is_there(act: Callable[[Path], None]) -> Callable[[Ground, Singles], None]:
    """Do something to the model's file once it is fetched, and twice more in use."""

    def strike(ground: Ground, load: Singles) -> None:
        _put_model(ground, load)
        before = ground.runs()
        known = set(_files(ground))
        load.send()
        until(lambda: set(_files(ground)) - known, "a model in the cache")
        for done in (0, 3, 6):
            ground.until_runs(before + done)
            for path in _files(ground):
                act(path)

    return strike


def _delete(path: Path) -> None:
    path.unlink(missing_ok=True)


def _rot(path: Path) -> None:
    """One bit in the middle, as a disk does it; the size stays."""
    try:
        with path.open("r+b") as file:
            file.seek(path.stat().st_size // 2)
            (byte,) = file.read(1) or b"\0"
            file.seek(-1, io.SEEK_CUR)
            file.write(bytes([byte ^ 1]))
    except FileNotFoundError:
        return


def _files(ground: Ground) -> list[Path]:
    return [path for path in (ground.folder / "models").rglob("*.onnx") if path.is_file()]


def _logs(ground: Ground) -> list[bytes]:
    return [worker.child.log.read_bytes() for worker in ground.workers]


def _limit_files(ground: Ground, size: int) -> None:
    """What a full disk is to a process: writing a file beyond so many bytes is an error."""
    for worker in ground.workers:
        hard = resource.prlimit(worker.child.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(worker.child.pid, resource.RLIMIT_FSIZE, (size, hard))


def _put_model(ground: Ground, load: Singles) -> None:
    """A model of its own for each round, so that it must be fetched."""
    name = load.jobs[0].options.model.removeprefix("s3://models/")
    noise = np.frombuffer(random.Random(name).randbytes(_WEIGHTS), np.uint8)
    unused = numpy_helper.from_array(noise, "noise")
    axes = (1, 3, 32, 32)
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["noise"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMax", ["floats"], ["most"], keepdims=0),
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=1),
            helper.make_node("Min", ["mean", "most"], ["y"]),
        ],
        "round",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, axes)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 1, 32, 32))],
        [unused],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    ground.s3.put_object(Bucket="models", Key=name, Body=model.SerializeToString())


FAULTS: Final = (
    Fault(
        name="disk-full",
        what="disk full in the model cache for 1.5 s",
        strike=_full_disk,
        options=_A_MODEL,
    ),
    Fault(
        name="model-deleted",
        what="a model's file deleted under running workers, three times",
        strike=_when_it_is_there(_delete),
        options=_A_MODEL,
    ),
    Fault(
        name="model-rots",
        what="a bit flipped in a model's file under running workers, three times",
        strike=_when_it_is_there(_rot),
        options=_A_MODEL,
    ),
)
