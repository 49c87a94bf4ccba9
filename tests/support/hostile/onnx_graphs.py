"""ONNX models that cost more than their size, or refer to files outside themselves."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from onnx import (
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    SparseTensorProto,
    TensorProto,
    ValueInfoProto,
    helper,
    numpy_helper,
)

from tests.support.hostile.file import DONE, INVALID, TOO_BIG, HostileFile

SIDE: Final = 32
OPSETS: Final = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
FAR_SIDE: Final = 2**23
FAR: Final = FAR_SIDE**2
"""Elements: 256 TiB of float32, more than a process can address."""


def value(name: str, axes: Sequence[int | str], dtype: int = TensorProto.FLOAT) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, axes)


def integers(name: str, *numbers: int) -> TensorProto:
    return helper.make_tensor(name, TensorProto.INT64, [len(numbers)], numbers)


def graph(
    *nodes: NodeProto,
    weights: Sequence[TensorProto] = (),
    output: str = "y",
    dtype: int = TensorProto.FLOAT,
    axes: Sequence[int] = (1, 1, SIDE, SIDE),
) -> GraphProto:
    """Return a graph from `x`, an image of 3×32×32, to a map named `output`.

    Its nodes read `mean`, the mean of the channels, or `x` itself.
    """
    mean = helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=1)
    outputs = [value(output, axes, dtype)]
    images = [value("x", (1, 3, SIDE, SIDE))]
    return helper.make_graph([mean, *nodes], "hostile", images, outputs, weights)


def model(
    *nodes: NodeProto,
    functions: Sequence[FunctionProto] = (),
    opset: int = 17,
    **facts: Any,
) -> ModelProto:
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    return helper.make_model(
        graph(*nodes, **facts), opset_imports=opsets, ir_version=8, functions=functions
    )


def node(operator: str, inputs: str, output: str, domain: str = "", **attributes: Any) -> NodeProto:
    return helper.make_node(operator, inputs.split(), [output], domain=domain, **attributes)


def function(name: str, *nodes: NodeProto) -> FunctionProto:
    return helper.make_function("own", name, ["a"], ["b"], nodes, OPSETS)


def calls(name: str, times: int) -> list[NodeProto]:
    """Return a chain of calls from `a` to `b`."""
    names = ["a", *(f"v{number}" for number in range(1, times)), "b"]
    return [node(name, names[n], names[n + 1], "own") for n in range(times)]


def doubling_functions(levels: int, times: int = 2) -> ModelProto:
    """Return a model whose functions each call the next one `times` times."""
    leaf = function(f"f{levels}", node("Identity", "a", "b"))
    others = [function(f"f{n}", *calls(f"f{n + 1}", times)) for n in range(levels)]
    return model(node("f0", "mean", "y", "own"), functions=[*others, leaf])


def nested_branches(levels: int) -> ModelProto:
    """Return a model of conditions within conditions."""
    inner = node("Identity", "mean", "z0")
    for level in range(1, levels):
        branch = helper.make_graph([inner], "b", [], [value(f"z{level - 1}", (1, 1, SIDE, SIDE))])
        inner = node("If", "yes", f"z{level}", then_branch=branch, else_branch=branch)
    yes = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
    return model(inner, weights=[yes], output=f"z{levels - 1}")


def functions_in_branches(levels: int) -> ModelProto:
    """Return functions that call the next one twice, in both branches of a condition."""

    def choice(name: str) -> list[NodeProto]:
        branch = helper.make_graph(
            [node(name, "a", "z", "own")], "b", [], [value("z", (1, 1, SIDE, SIDE))]
        )
        yes = helper.make_tensor("c", TensorProto.BOOL, [], [True])
        return [
            node("Constant", "", "yes", value=yes),
            node("If", "yes", "b", then_branch=branch, else_branch=branch),
        ]

    leaf = function(f"f{levels}", node("Identity", "a", "b"))
    others = [function(f"f{n}", *choice(f"f{n + 1}")) for n in range(levels)]
    return model(node("f0", "mean", "y", "own"), functions=[*others, leaf])


def doubling_shape(levels: int) -> ModelProto:
    """Return a model that doubles the length of a shape again and again."""
    nodes = [node("Shape", "mean", "s0")]
    nodes += [node("Concat", f"s{n} s{n}", f"s{n + 1}", axis=0) for n in range(levels)]
    nodes += [node("ReduceMax", f"s{levels}", "most", keepdims=0), node("Cast", "most", "f", to=1)]
    return model(*nodes, node("Add", "mean f", "y"))


def doubling_constant(levels: int) -> ModelProto:
    """Return a model that doubles the length of a weight again and again."""
    nodes = [node("Concat", f"s{n} s{n}", f"s{n + 1}", axis=0) for n in range(levels)]
    nodes += [node("ReduceMax", f"s{levels}", "f", keepdims=0)]
    weight = helper.make_tensor("s0", TensorProto.FLOAT, [1], [0.5])
    return model(*nodes, node("Add", "mean f", "y"), weights=[weight])


def huge_constants() -> Iterator[tuple[str, ModelProto]]:
    """Yield models whose constants have 256 TiB or more once they are computed."""
    far, one = integers("far", FAR), helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    scalar = [
        helper.make_tensor(name, TensorProto.INT64, [], [number])
        for name, number in (("start", 0), ("limit", FAR), ("step", 1))
    ]
    end = [node("ReduceMax", "big", "f", keepdims=0), node("Add", "mean f", "y")]
    yield "constant-of-shape", model(node("ConstantOfShape", "far", "big"), *end, weights=[far])
    yield "expand", model(node("Expand", "one far", "big"), *end, weights=[far, one])
    yield "tile", model(node("Tile", "one far", "big"), *end, weights=[far, one])
    ranged = [node("Range", "start limit step", "n"), node("Cast", "n", "big", to=1)]
    yield "range", model(*ranged, *end, weights=scalar)
    yield "random", model(node("RandomNormal", "", "big", shape=[FAR]), *end)
    grid = integers("grid", FAR_SIDE, FAR_SIDE)
    eye = [node("ConstantOfShape", "grid", "zeros"), node("EyeLike", "zeros", "big")]
    yield "eye", model(*eye, *end, weights=[grid])
    pads = integers("pads", 0, FAR)
    yield "pad", model(node("Pad", "one pads", "big"), *end, weights=[one, pads])
    sizes = helper.make_tensor("sizes", TensorProto.INT64, [4], [1, 1, FAR_SIDE, FAR_SIDE])
    resize = node("Resize", "mean   sizes", "big")
    resize.input[:] = ["mean", "", "", "sizes"]
    yield "resize", model(resize, *end, weights=[sizes])
    depth = helper.make_tensor("depth", TensorProto.INT64, [], [FAR])
    values = helper.make_tensor("values", TensorProto.FLOAT, [2], [0.0, 1.0])
    hot = [node("OneHot", "index depth values", "big")]
    yield "one-hot", model(*hot, *end, weights=[integers("index", 1), depth, values])


def external(tensor: TensorProto) -> TensorProto:
    """Return a tensor with its data in another file."""
    moved = TensorProto(data_type=tensor.data_type, dims=tensor.dims, name=tensor.name)
    moved.data_location = TensorProto.EXTERNAL
    item = moved.external_data.add()
    item.key, item.value = "location", "../../../../etc/passwd"
    return moved


def sparse() -> SparseTensorProto:
    """Return a sparse tensor (1, 1, 32, 32) with one value, which is in another file."""
    values = helper.make_tensor("sparse", TensorProto.FLOAT, [1], [1.0])
    indices = helper.make_tensor("i", TensorProto.INT64, [1], [0])
    return helper.make_sparse_tensor(external(values), indices, [1, 1, SIDE, SIDE])


def outside() -> Iterator[tuple[str, ModelProto]]:
    """Yield models that keep a tensor in another file, at every place that can hold one."""
    weight = external(helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0]))
    add = node("Add", "mean w", "y")
    yield "weight", model(add, weights=[weight])
    yield "constant", model(node("Constant", "", "w", value=weight), add)
    constant = helper.make_node("Constant", [], ["w"], sparse_value=sparse())
    yield "sparse-constant", model(constant, add)
    dense = helper.make_tensor("sparse", TensorProto.FLOAT, [1], [1.0])
    far_indices = external(helper.make_tensor("i", TensorProto.INT64, [1], [0]))
    places = helper.make_sparse_tensor(dense, far_indices, [1, 1, SIDE, SIDE])
    yield "sparse-indices", model(helper.make_node("Constant", [], ["w"], sparse_value=places), add)
    initializer = model(node("Add", "mean sparse", "y"))
    initializer.graph.sparse_initializer.append(sparse())
    yield "sparse-weight", initializer
    body = [node("Constant", "", "w", value=weight), node("Add", "a w", "b")]
    yield "function", model(node("f", "mean", "y", "own"), functions=[function("f", *body)])
    inner = [node("Constant", "", "w", value=weight), node("Add", "mean w", "z")]
    branch = helper.make_graph(inner, "b", [], [value("z", (1, 1, SIDE, SIDE))])
    yes = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
    chosen = node("If", "yes", "y", then_branch=branch, else_branch=branch)
    yield "branch", model(chosen, weights=[yes])
    trained = model(node("Identity", "mean", "y"))
    trained.training_info.add().algorithm.CopyFrom(graph(add, weights=[weight]))
    yield "training", trained
    listed = node("Constant", "", "w", value=helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0]))
    attribute = listed.attribute.add()
    attribute.name, attribute.type = "more", 9
    attribute.tensors.append(weight)
    yield "list", model(listed, add)


def texts() -> Iterator[tuple[str, ModelProto]]:
    """Yield models with tensors of strings on the way to their map."""
    yield "output", model(node("Cast", "mean", "y", to=TensorProto.STRING), dtype=8)
    back = [node("Cast", "mean", "t", to=8), node("Cast", "t", "y", to=1)]
    yield "there-and-back", model(*back)
    words = numpy_helper.from_array(np.array(["no number"], object), "words")
    yield (
        "words",
        model(node("Cast", "words", "f", to=1), node("Add", "mean f", "y"), weights=[words]),
    )
    undeclared = model(node("Cast", "mean", "y", to=TensorProto.STRING))
    undeclared.graph.output[0].type.tensor_type.ClearField("elem_type")
    yield "undeclared", undeclared


def attacks() -> Iterator[HostileFile]:
    def make(name: str, hostile: ModelProto, ends: frozenset[str] = INVALID) -> HostileFile:
        return HostileFile(f"onnx/{name}.onnx", hostile.SerializeToString(), ends)

    yield make("functions", doubling_functions(40))
    yield make("functions-wide", doubling_functions(5, 40))
    yield make("functions-deep", doubling_functions(5_000, 1))
    yield make("functions-in-branches", functions_in_branches(40))
    circle = [function("f", *calls("g", 1)), function("g", *calls("f", 1))]
    yield make("functions-circle", model(node("f", "mean", "y", "own"), functions=circle))
    itself = [function("f", *calls("f", 2))]
    yield make("function-itself", model(node("f", "mean", "y", "own"), functions=itself))
    large = numpy_helper.from_array(np.ones(10_000, np.float32), "w")
    heavy = function("heavy", node("Constant", "", "w", value=large), node("Identity", "a", "b"))
    many = [function(f"f{n}", *calls(f"f{n + 1}" if n < 3 else "heavy", 17)) for n in range(4)]
    yield make("functions-heavy", model(node("f0", "mean", "y", "own"), functions=[*many, heavy]))
    yield make("branches", nested_branches(12), DONE)
    yield make("shape-doubles", doubling_shape(40))
    yield make("weight-doubles", doubling_constant(40))
    for name, hostile in huge_constants():
        yield make(f"huge-{name}", hostile, TOO_BIG)
    for name, hostile in outside():
        yield make(f"outside-{name}", hostile)
    for name, hostile in texts():
        yield make(f"text-{name}", hostile, INVALID if name != "there-and-back" else DONE)
    long = "y" * 20 * 2**20
    yield make("name", model(node("Identity", "mean", long), output=long))
    yield make("operator", model(node("O" * 2**20, "mean", "y")))
    yield make("domain", model(node("Op", "mean", "y", "d" * 2**20)))
    renamed = model(node("Identity", "mean", "y"))
    renamed.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n" * 2**20
    yield make("axis", renamed)
    many_nodes = model(node("Identity", "mean", "y"))
    many_nodes.graph.node.extend([node("Abs", "mean", "v")] * 100_000)
    yield make("nodes", many_nodes)
    # A node of two bytes becomes an object of a hundred.
    empty = model(node("Identity", "mean", "y"))
    empty.graph.ClearField("node")
    body = empty.graph.SerializeToString() + b"\x0a\x00" * 3_000_000
    head = b"\x08\x08\x42\x02\x10\x11"
    yield HostileFile("onnx/empty-nodes.onnx", head + b"\x3a" + _varint(len(body)) + body, INVALID)
    wide = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[FAR, FAR])
    yield make("weight-without-data", model(node("Add", "mean w", "y"), weights=[wide]))
    negative = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[-1, -(2**62)])
    yield make("weight-negative", model(node("Add", "mean w", "y"), weights=[negative]))
    dense = helper.make_tensor("sparse", TensorProto.FLOAT, [1], [1.0])
    far = helper.make_sparse_tensor(dense, integers("i", 0), [FAR_SIDE, FAR_SIDE])
    spread = model(node("ReduceMax", "sparse", "f", keepdims=0), node("Add", "mean f", "y"))
    spread.graph.sparse_initializer.append(far)
    yield make("sparse-huge", spread)


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
