"""A full disk under the model cache, and model files that are deleted or corrupted in use."""

import io
import random
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests.system.chaos.cluster import Cluster, until
from tests.system.chaos.load import Singles
from tests.system.chaos.rounds import Fault

_WEIGHT_BYTES: Final = 2**20
"""The size of a model's weights, which are unused."""
_FULL_DISK_BYTES: Final = 2**18
"""The largest file size while the disk is full; logs stay below it."""
_OWN_MODEL: Final = (("model", "s3://models/{prefix}.onnx"),)
_FULL_SECONDS: Final = 1.5
"""How long the disk is full."""


def _full_disk(cluster: Cluster, load: Singles) -> None:
    """Prevent the workers from writing a file of a model's size for a while."""
    _put_model(cluster, load)
    _limit_files(cluster, _FULL_DISK_BYTES)
    load.send()
    until(lambda: any(b"model_unavailable" in log for log in _logs(cluster)), "a full disk")
    time.sleep(_FULL_SECONDS)
    _limit_files(cluster, resource.RLIM_INFINITY)


def _when_fetched(act: Callable[[Path], None]) -> Callable[[Cluster, Singles], None]:
    """Return an injector that calls `act` on the model's file once fetched and twice in use."""

    def inject(cluster: Cluster, load: Singles) -> None:
        _put_model(cluster, load)
        before = cluster.runs()
        known = set(_files(cluster))
        load.send()
        until(lambda: set(_files(cluster)) - known, "a model in the cache")
        for done in (0, 3, 6):
            cluster.until_runs(before + done)
            for path in _files(cluster):
                act(path)

    return inject


def _delete(path: Path) -> None:
    path.unlink(missing_ok=True)


def _flip_bit(path: Path) -> None:
    """Flip one bit in the middle of the file; the size stays the same."""
    try:
        with path.open("r+b") as file:
            file.seek(path.stat().st_size // 2)
            (byte,) = file.read(1) or b"\0"
            file.seek(-1, io.SEEK_CUR)
            file.write(bytes([byte ^ 1]))
    except FileNotFoundError:
        return


def _files(cluster: Cluster) -> list[Path]:
    return [path for path in (cluster.folder / "models").rglob("*.onnx") if path.is_file()]


def _logs(cluster: Cluster) -> list[bytes]:
    return [worker.child.log.read_bytes() for worker in cluster.workers]


def _limit_files(cluster: Cluster, size: int) -> None:
    """Make writes beyond `size` bytes fail in all workers, as on a full disk."""
    for worker in cluster.workers:
        hard = resource.prlimit(worker.child.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(worker.child.pid, resource.RLIMIT_FSIZE, (size, hard))


def _put_model(cluster: Cluster, load: Singles) -> None:
    """Upload a model for this round alone, so that the workers must fetch it."""
    name = load.jobs[0].options.model.removeprefix("s3://models/")
    noise = np.frombuffer(random.Random(name).randbytes(_WEIGHT_BYTES), np.uint8)
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
    cluster.s3.put_object(Bucket="models", Key=name, Body=model.SerializeToString())


FAULTS: Final = (
    Fault(
        name="disk-full",
        what="disk full in the model cache for 1.5 s",
        inject=_full_disk,
        options=_OWN_MODEL,
    ),
    Fault(
        name="model-deleted",
        what="a model's file deleted under running workers, three times",
        inject=_when_fetched(_delete),
        options=_OWN_MODEL,
    ),
    Fault(
        name="model-rots",
        what="a bit flipped in a model's file under running workers, three times",
        inject=_when_fetched(_flip_bit),
        options=_OWN_MODEL,
    ),
)
