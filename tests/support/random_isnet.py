"""ISNet with random weights, for tests to which its output does not matter."""

import torch
from torch import Tensor

from worker.models.engines.torch.isnet import ISNetDIS


def random_state() -> dict[str, Tensor]:
    """Return a checkpoint with the names and shapes of the published one."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return dict(ISNetDIS().state_dict())
