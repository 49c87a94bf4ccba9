"""Where layers lie in memory: together where they are put together, and where others lay before."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from onnx import helper

from worker.models.engines.winograd.layers import Floats, Layer
from worker.models.engines.winograd.operations import Operation, Shape
from worker.models.engines.winograd.unsupported import UnsupportedGraph


class _Place(NamedTuple):
    """Where a layer lies: from which channel of which other, or of itself."""

    base: str
    first: int


def together(
    operations: Sequence[Operation], shapes: Mapping[str, Shape], *, fed: str
) -> tuple[list[Operation], dict[str, _Place]]:
    """Where layers lie so that putting them together costs nothing, or a copy where it must."""
    places: dict[str, _Place] = {}
    kept: list[Operation] = []
    for each in operations:
        if each.kind != "Concat":
            kept.append(each)
            continue
        attributes = {item.name: helper.get_attribute_value(item) for item in each.node.attribute}
        if attributes["axis"] != 1:
            raise UnsupportedGraph(f"expected Concat of channels, found {attributes}")
        first = 0
        for number, source in enumerate(each.sources):
            name = source
            if source in places or source == fed:
                name = f"{each.target}/{number}"
                if name in shapes:
                    raise UnsupportedGraph(f"the name {name} is taken")
                kept.append(replace(each, kind="Copy", sources=(source,), target=name))
            places[name] = _Place(each.target, first)
            first += shapes[source].channels
    return kept, places


def laid_out(
    operations: Sequence[Operation],
    places: Mapping[str, _Place],
    shapes: Mapping[str, Shape],
    *,
    fed: str,
    result: str,
) -> dict[str, Layer]:
    """Memory for every layer, the same for those that are not needed at once."""

    def base(name: str) -> tuple[str, int]:
        first = 0
        while name in places:
            first += places[name].first
            name = places[name].base
        return name, first

    begins, ends = (
        {base(fed)[0]: -1},
        {base(result)[0]: len(operations), base(fed)[0]: len(operations)},
    )
    for index, each in enumerate(operations):
        begins.setdefault(base(each.target)[0], index)
        for name in (each.target, *each.sources):
            whole = base(name)[0]
            ends[whole] = max(ends.get(whole, index), index)
    arrays: dict[str, Floats] = {}
    free: list[Floats] = []
    for index in range(-1, len(operations)):
        for name in (name for name, begin in begins.items() if begin == index):
            numbers = int(np.prod(shapes[name]))
            fitting = [number for number, array in enumerate(free) if array.size >= numbers]
            best = min(fitting, key=lambda number: free[number].size, default=None)
            arrays[name] = np.zeros(numbers, np.float32) if best is None else free.pop(best)
        free += [arrays[name] for name, end in ends.items() if end == index]
    found = {}
    for each in operations:
        for name in (each.target, *each.sources):
            whole, first = base(name)
            source = each.sources[0] if each.kind == "Copy" else name
            pixels = arrays[whole][: int(np.prod(shapes[whole]))].reshape(shapes[whole])
            height, width, channels = shapes[name if name in shapes else source]
            if pixels.shape[:2] != (height, width) or first + channels > pixels.shape[2]:
                raise UnsupportedGraph(f"{name} does not fit into {whole}")
            found[name] = Layer(pixels, first, channels)
    return found
