"""Small ONNX files of every kind that the preparation treats differently, as seeds to mutate."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper, parser

_HEADER: Final = '<ir_version: 8, opset_import: ["" : 17{}]>'
_IMAGE: Final = "float[1, 3, 8, 8] x"
_MAP: Final = "float[1, 1, 8, 8] y"

_TEXTS: Final[Mapping[str, str]] = {
    "mean": f"""g ({_IMAGE}) => ({_MAP}) {{ y = ReduceMean<axes = [1], keepdims = 1>(x) }}""",
    "network": f"""g ({_IMAGE}) => ({_MAP}, float[1, 2, 4, 4] side)
        <float[2, 3, 3, 3] w = {{{", ".join(["0.1"] * 54)}}}, float[1, 2, 1, 1] v = {{0.5, -0.5}},
         float[4] scales = {{1, 1, 2, 2}}> {{
            a = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]>(x, w)
            side = Relu(a)
            b = Resize<mode = "linear">(side, , scales)
            c = Conv<kernel_shape = [1, 1]>(b, v)
            y = Sigmoid(c)
        }}""",
    "shapes": f"""g ({_IMAGE}) => ({_MAP})
        <int64[1] one = {{1}}, int64[1] two = {{2}}, int64[1] four = {{4}}, int64 zero = {{0}}> {{
            s = Shape(x)
            sides = Slice(s, two, four)
            n = Gather<axis = 0>(s, zero)
            axis = Constant<value = int64[1] {{0}}>()
            batch = Unsqueeze(n, axis)
            sizes = Concat<axis = 0>(batch, one, sides)
            counts = Constant<value_ints = [1, 2]>()
            parts, rest = Split<axis = 1>(x, counts)
            y = Reshape(parts, sizes)
        }}""",
    "two maps": """g (float[N, 3, H, W] x) => (float[N, 2, H, W] y, float[N, 1, H, W] z) {
            counts = Constant<value = int64[2] {2, 1}>()
            y, z = Split<axis = 1>(x, counts)
        }""",
    "branches": f"""g ({_IMAGE}) => ({_MAP}) <bool yes = {{1}}> {{
            m = ReduceMean<axes = [1], keepdims = 1>(x)
            y = If(yes) <
                then_branch = t () => (float[1, 1, 8, 8] a) {{ a = Relu(m) }},
                else_branch = e () => (float[1, 1, 8, 8] b) {{ b = Neg(m) }}
            >
        }}""",
    "loop": f"""g ({_IMAGE}) => ({_MAP}) <int64 trips = {{3}}, bool yes = {{1}}> {{
            m = ReduceMean<axes = [1], keepdims = 1>(x)
            y = Loop(trips, yes, m) <
                body = l (int64 i, bool go, float[1, 1, 8, 8] a) => (bool on, float[1, 1, 8, 8] b)
                {{ on = Identity(go) b = Abs(a) }}
            >
        }}""",
    "half": """g (float16[1, 3, 8, 8] x) => (float16[1, 1, 8, 8] y) <float16[1] w = {14336}> {
            f = Cast<to = 1>(x)
            h = Cast<to = 10>(f)
            k = CastLike(w, h)
            a = Mul(h, k)
            shape = Constant<value_ints = [1, 3, 8, 8]>()
            c = ConstantOfShape<value = float16[1] {13312}>(shape)
            b = Add(a, c)
            y = ReduceMean<axes = [1], keepdims = 1>(b)
        }""",
    "quantised": f"""g ({_IMAGE}) => ({_MAP}) <float s = {{0.1}}, uint8 z = {{128}}> {{
            q = QuantizeLinear(x, s, z)
            d = DequantizeLinear(q, s, z)
            eye = Constant<value = float[8, 8] {{{", ".join(["1"] * 64)}}}>()
            e = EyeLike<dtype = 1, k = 0>(eye)
            m = MatMul(d, e)
            y = ReduceMean<axes = [1], keepdims = 1>(m)
        }}""",
    "words": f"""g ({_IMAGE}) => ({_MAP}) {{
            w = Constant<value_strings = ["1", "2"]>()
            n = Cast<to = 1>(w)
            m = ReduceMean<axes = [1], keepdims = 1>(x)
            k = ReduceSum<keepdims = 0>(n)
            y = Add(m, k)
        }}""",
}
_FUNCTIONS: Final = f"""
    g ({_IMAGE}) => ({_MAP}) {{ a = local.called(x)  y = local.also<depth = 1>(a) }}
    <opset_import: ["" : 17, "local" : 1], domain: "local">
    called (i) => (o) {{ o = ReduceMean<axes = [1], keepdims = 1>(i) }}
    <opset_import: ["" : 17, "local" : 1], domain: "local">
    also <depth>(i) => (o) {{ t = Relu(i)  o = Neg(t) }}
"""


def small_graphs() -> Mapping[str, bytes]:
    """Return serialised models by name."""
    models = {name: parser.parse_model(_HEADER.format("") + text) for name, text in _TEXTS.items()}
    models["functions"] = parser.parse_model(_HEADER.format(', "local" : 1') + _FUNCTIONS)
    models["sparse"] = _sparse()
    models["elsewhere"] = _external(models["network"])
    return {name: model.SerializeToString() for name, model in models.items()}


def _sparse() -> ModelProto:
    values = numpy_helper.from_array(np.ones(3, np.float32), "w")
    indices = numpy_helper.from_array(np.array([0, 1, 2]), "indices")
    node = helper.make_node("Mul", ["x", "w"], ["m"])
    mean = helper.make_node("ReduceMean", ["m"], ["y"], axes=[1], keepdims=1)
    graph = _graph([node, mean])
    graph.sparse_initializer.add(values=values, indices=indices, dims=[1, 3, 1, 1])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _graph(nodes: Sequence[NodeProto]) -> GraphProto:
    return helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 8, 8])],
    )


def _external(model: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    weight = copy.graph.initializer[0]
    weight.external_data.add(key="location", value="weights.bin")
    weight.data_location = TensorProto.EXTERNAL
    return copy
