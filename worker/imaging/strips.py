"""Some rows of a picture at a time, so that what is made on the way to a result stays small."""

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

Kind = TypeVar("Kind", bound=np.generic)

_PIXELS: Final = 2**20
"""At a time."""


def strips(height: int, width: int) -> Iterator[slice]:
    """The rows of a picture in order, about a megapixel at a time."""
    rows = max(1, _PIXELS // max(width, 1))
    for upper in range(0, height, rows):
        yield slice(upper, min(upper + rows, height))


def map_strips(work: Callable[..., NDArray[Kind]], *arrays: NDArray[Any]) -> NDArray[Kind]:
    """`work(*arrays)`, of a function that makes each row of its result from those rows alone.

    The arrays are (H, W, …) of one height and width; the result has their height.
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
