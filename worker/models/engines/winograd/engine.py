"""The engine for a CPU of networks like ISNet and U²-Net: see `worker.models.engines.winograd`."""

import os
from pathlib import Path
from threading import Lock
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from worker.models.engines.engine import EngineFacts
from worker.models.engines.winograd.plan import Network, plan
from worker.models.engines.winograd.team import Team
from worker.models.engines.winograd.unsupported import UnsupportedGraph

_FACTS: Final = EngineFacts(engine="cutwork", provider="Winograd", device="cpu", dtype="float32")


class WinogradEngine:
    """A network, laid out for images of one size."""

    facts = _FACTS
    pictures = None
    most = 1

    def __init__(self, network: Network, *, threads: int) -> None:
        """`threads`: 0 for every core."""
        height, width, _ = network.image.part.shape
        self.input_size = (width, height)
        self.bytes = network.weight_bytes + network.layer_bytes
        self._network: Network | None = network
        threads = threads or len(os.sched_getaffinity(0))
        needed = [step.scratch for step in network.steps]
        self._team = Team(
            threads,
            scratch=max(each.own for each in needed),
            common=max(each.common for each in needed),
        )
        # Each of the team calls BLAS for its own part; threads of BLAS's own would only be more
        # threads than cores.
        threadpool_limits(1, user_api="blas")
        self._lock = Lock()

    def infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Maps (N, h, w) of a batch (N, 3, H, W), float32; one after the other."""
        network = self._network
        if network is None:
            raise RuntimeError("this engine is closed; load the model again")
        image, found = network.image.part, network.map.part
        if batch.shape[1:] != (image.shape[2], *image.shape[:2]):
            raise ValueError(
                f"expected (N, 3, {image.shape[0]}, {image.shape[1]}), found {batch.shape}"
            )
        maps = np.empty((len(batch), *found.shape[:2]), np.float32)
        for planes, result in zip(batch, maps, strict=True):
            # One image at a time has the memory.
            with self._lock:
                image[:] = planes.transpose(1, 2, 0)
                for step in network.steps:
                    step.run(self._team)
                result[:] = found[:, :, 0]
        return maps

    def close(self) -> None:
        """Give the memory back."""
        self._network = None
        self._team.close()


def load(graph: Path, *, threads: int, wide: float = 0) -> WinogradEngine:
    """Load a prepared graph.

    Raises `UnsupportedGraph` where it is none of those, or where less than `wide` of its
    multiplications gain by it.
    """
    network = plan(onnx.load(graph))
    if network.wide < wide:
        raise UnsupportedGraph(f"{network.wide:.0%} of it is between many channels")
    return WinogradEngine(network, threads=threads)
