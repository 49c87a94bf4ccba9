"""The own engine, for networks like ISNet and U²-Net on a CPU."""

from pathlib import Path
from threading import Lock

import numpy as np
import onnx
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from worker.imaging.cores import usable_cores
from worker.models.engines.engine import EngineFacts
from worker.models.engines.winograd.operation import UnsupportedGraph
from worker.models.engines.winograd.plan import Network, plan
from worker.models.engines.winograd.team import Team


class WinogradEngine:
    """A network that is planned for images of one size."""

    facts = EngineFacts(engine="cutwork", provider="Winograd", device="cpu", dtype="float32")
    segmenter = None
    max_batch = 1

    def __init__(self, network: Network, *, threads: int) -> None:
        """`threads`: 0 for one per core."""
        height, width, _ = network.image.view.shape
        self.input_size = (width, height)
        self.bytes = network.bytes
        self._network: Network | None = network
        scratches = [step.scratch for step in network.steps]
        self._team = Team(
            threads or usable_cores(),
            private=max(scratch.private for scratch in scratches),
            shared=max(scratch.shared for scratch in scratches),
        )
        # Every thread of the team calls BLAS for its own part; threads of BLAS would only compete
        # with them for the cores.
        threadpool_limits(1, user_api="blas")
        self._lock = Lock()

    def infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Engine.infer`; images are computed one after the other."""
        network = self._network
        if network is None:
            raise RuntimeError("this engine is closed; load the model again")
        image, saliency = network.image.view, network.saliency.view
        if batch.shape[1:] != (image.shape[2], *image.shape[:2]):
            raise ValueError(
                f"expected (N, 3, {image.shape[0]}, {image.shape[1]}), found {batch.shape}"
            )
        maps = np.empty((len(batch), *saliency.shape[:2]), np.float32)
        for planes, result in zip(batch, maps, strict=True):
            # The layers' memory serves one image at a time.
            with self._lock:
                image[:] = planes.transpose(1, 2, 0)
                for step in network.steps:
                    step.run(self._team)
                result[:] = saliency[:, :, 0]
        return maps

    def close(self) -> None:
        """Free the memory."""
        self._network = None
        self._team.close()


def load_winograd_engine(graph: Path, *, threads: int, min_wide_share: float = 0) -> WinogradEngine:
    """Load a prepared graph.

    Raises `UnsupportedGraph` where this engine does not implement it, or where less than
    `min_wide_share` of its multiplications are between wide layers.
    """
    network = plan(onnx.load(graph))
    if network.saliency.channels != 1:
        raise UnsupportedGraph(f"expected a map of one channel, found {network.saliency.channels}")
    if network.wide_share < min_wide_share:
        raise UnsupportedGraph(
            f"expected {min_wide_share:.0%} of the multiplications between wide layers, "
            f"found {network.wide_share:.0%}"
        )
    return WinogradEngine(network, threads=threads)
