"""The batch sizes that a GPU is given: few, because kernels are tuned for each one at warm-up."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def batch_sizes(max_batch: int) -> tuple[int, ...]:
    """Return 1, 2, 4, … and `max_batch` itself, so that padding never doubles a batch."""
    return (*(2**power for power in range((max_batch - 1).bit_length())), max_batch)


def padded_batch_size(images: int, max_batch: int) -> int:
    """Return the smallest batch size for this number of images; above `max_batch`, the number."""
    return min((size for size in batch_sizes(max_batch) if size >= images), default=images)


def padded(batch: NDArray[Any], max_batch: int) -> NDArray[Any]:
    """Return a batch (N, …) as a contiguous array, padded with zeros to one of the batch sizes."""
    padding = padded_batch_size(len(batch), max_batch) - len(batch)
    if not padding:
        return np.ascontiguousarray(batch)
    return np.concatenate([batch, np.zeros((padding, *batch.shape[1:]), batch.dtype)])
