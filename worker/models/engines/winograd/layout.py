"""The memory layout of layers: concatenated ones share an array, and arrays are reused."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
from onnx import helper

from worker.models.engines.winograd.layer import Floats, Layer
from worker.models.engines.winograd.operation import Operation, Shape, UnsupportedGraph

_MAX_ELEMENTS: Final = 2**30
"""Elements of all arrays, 4 GiB; all of them are allocated before the first image."""


class _Location(NamedTuple):
    """Where a concatenated layer lies inside the result of its concatenation."""

    parent: str
    first: int
    """The index of its first channel there."""


def merge_concatenations(
    operations: Sequence[Operation], shapes: Mapping[str, Shape], *, input_name: str
) -> tuple[list[Operation], dict[str, _Location]]:
    """Remove concatenations by letting their sources lie in the result.

    A source that is the network's input, or part of another concatenation already, is copied. The
    returned operations contain `Copy` but not `Concat`; the dictionary locates the sources.
    """
    locations: dict[str, _Location] = {}
    merged: list[Operation] = []
    for operation in operations:
        if operation.kind != "Concat":
            merged.append(operation)
            continue
        attributes = {
            item.name: helper.get_attribute_value(item) for item in operation.node.attribute
        }
        if attributes["axis"] != 1:
            raise UnsupportedGraph(f"expected Concat of channels, found {attributes}")
        first = 0
        for number, source in enumerate(operation.sources):
            name = source
            if source in locations or source == input_name:
                name = f"{operation.target}/{number}"
                if name in shapes:
                    raise UnsupportedGraph(f"the name {name} is taken")
                merged.append(replace(operation, kind="Copy", sources=(source,), target=name))
            locations[name] = _Location(operation.target, first)
            first += shapes[source].channels
    return merged, locations


def allocate_layers(
    operations: Sequence[Operation],
    locations: Mapping[str, _Location],
    shapes: Mapping[str, Shape],
    *,
    input_name: str,
    output_name: str,
) -> dict[str, Layer]:
    """Allocate every layer; arrays that are not needed at the same time share memory.

    Raises `UnsupportedGraph` above 4 GiB.
    """

    def root(name: str) -> tuple[str, int]:
        """Return the outermost concatenation that contains a layer, and its first channel there."""
        first = 0
        while name in locations:
            first += locations[name].first
            name = locations[name].parent
        return name, first

    # The index of the operation before which, and after which, each array is needed.
    end = len(operations)
    first_uses = {root(input_name)[0]: -1}
    last_uses = {root(output_name)[0]: end, root(input_name)[0]: end}
    for index, operation in enumerate(operations):
        first_uses.setdefault(root(operation.target)[0], index)
        for name in (operation.target, *operation.sources):
            array_name = root(name)[0]
            last_uses[array_name] = max(last_uses.get(array_name, index), index)
    arrays: dict[str, Floats] = {}
    free: list[Floats] = []
    allocated = 0
    for index in range(-1, end):
        for name in (name for name, first_use in first_uses.items() if first_use == index):
            elements = int(np.prod(shapes[name]))
            fitting = [number for number, array in enumerate(free) if array.size >= elements]
            best = min(fitting, key=lambda number: free[number].size, default=None)
            if best is None:
                allocated += elements
                if allocated > _MAX_ELEMENTS:
                    raise UnsupportedGraph(f"expected layers of at most {_MAX_ELEMENTS:,} elements")
            arrays[name] = np.zeros(elements, np.float32) if best is None else free.pop(best)
        free += [arrays[name] for name, last_use in last_uses.items() if last_use == index]
    layers = {}
    for operation in operations:
        for name in (operation.target, *operation.sources):
            array_name, first = root(name)
            source = operation.sources[0] if operation.kind == "Copy" else name
            elements = int(np.prod(shapes[array_name]))
            array = arrays[array_name][:elements].reshape(shapes[array_name])
            height, width, channels = shapes[name if name in shapes else source]
            if array.shape[:2] != (height, width) or first + channels > array.shape[2]:
                raise UnsupportedGraph(f"{name} does not fit into {array_name}")
            layers[name] = Layer(array, first, channels)
    return layers
