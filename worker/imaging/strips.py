"""Process pictures a few rows at a time, so that intermediate arrays stay small."""

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

Kind = TypeVar("Kind", bound=np.generic)

_STRIP_PIXELS: Final = 2**20


def strips(height: int, width: int) -> Iterator[slice]:
    """Yield the rows of a picture in order, about a megapixel at a time."""
    rows = max(1, _STRIP_PIXELS // max(width, 1))
    for upper in range(0, height, rows):
        yield slice(upper, min(upper + rows, height))


def map_strips(work: Callable[..., NDArray[Kind]], *arrays: NDArray[Any]) -> NDArray[Kind]:
    """Return `work(*arrays)`, computed strip by strip.

    The arrays are (H, W, …) with the same height and width. Each row of the result, which has the
    same height, must depend on that row of the arrays only.
    """
    height, width = arrays[0].shape[:2]
    result: NDArray[Kind] | None = None
    for rows in strips(height, width):
        part = work(*(array[rows] for array in arrays))
        if len(part) == height:
            return part
        if result is None:
            result = np.empty((height, *part.shape[1:]), part.dtype)
        result[rows] = part
    return work(*arrays) if result is None else result
