"""Small ONNX graphs in half precision, one for each operator that names an element type.

Each is written in ONNX's text form. Its input `x` is float32 (1, 3, 8, 8); `h` is that in half
precision, `g` the mean of its channels (1, 1, 8, 8), and the body computes the output `m` of that
shape. No result depends on chance: random numbers are as good as 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import ml_dtypes
import numpy as np
from onnx import ModelProto, SparseTensorProto, TensorProto, helper, numpy_helper, parser


@dataclass(frozen=True)
class Half:
    """An element type as the text form writes it."""

    number: int
    """Of `TensorProto.DataType`."""

    @property
    def name(self) -> str:
        return str(TensorProto.DataType.Name(self.number)).lower()

    def __call__(self, *values: float) -> str:
        """Write numbers of this type: as themselves, or as the bits of a shorter type."""
        if self.number == TensorProto.FLOAT:
            return ", ".join(map(str, values))
        short = np.float16 if self.number == TensorProto.FLOAT16 else ml_dtypes.bfloat16
        return ", ".join(map(str, np.asarray(values, short).view(np.uint16)))


@dataclass(frozen=True, kw_only=True)
class Case:
    """A graph's body, for the operator sets that have its operators and attributes."""

    body: Callable[[Half, int], str]
    """Given the type and the operator set."""
    first: int = 17
    """The first operator set."""
    functions: Callable[[Half], str] = lambda _: ""
    sparse: Literal["", "initializer", "constant"] = ""
    """How the graph gets the sparse value `sparse`, (8), of ones."""

    def model(self, number: int, opset: int) -> ModelProto:
        half = Half(number)
        model = parser.parse_model(f"""
        <ir_version: 9, opset_import: ["" : {opset}, "com.microsoft" : 1, "own" : 1]>
        half (float[1, 3, 8, 8] x) => ({half.name}[1, 1, 8, 8] m)
        <
            {half.name}[1, 3, 1, 1] mean = {{{half(0.25, 0.5, 0.25)}}},
            {half.name}[1] one = {{{half(1)}}}, {half.name}[1] zero = {{{half(0)}}},
            float[1] float_one = {{1}}, float[1] step = {{0.0078125}},
            int64[1] eight = {{8}}, int64[4] shape = {{1, 1, 8, 8}}, int64[1] ninth = {{8}},
            {half.name}[1, 3, 8, 8] h
        > {{
            h = Cast<to = {number}>(x)
            g = Conv(h, mean)
            {self.body(half, opset)}
        }}
        {self.functions(half)}""")
        ones = SparseTensorProto(
            values=helper.make_tensor("sparse", number, [8], np.ones(8)),
            indices=numpy_helper.from_array(np.arange(8)),
            dims=[8],
        )
        if self.sparse == "initializer":
            model.graph.sparse_initializer.append(ones)
        elif self.sparse == "constant":
            model.graph.node.insert(
                0, helper.make_node("Constant", [], ["sparse"], sparse_value=ones)
            )
        return model


def quantised(half: Half, opset: int) -> str:
    precise = f", precision = {half.number}" if opset >= 23 else ""
    quantise = f"<output_dtype = 2{precise}>" if opset >= 21 else ""
    return f"""scale = Constant<value = {half.name} {{{half(1 / 128)}}}>()
        levels = QuantizeLinear{quantise}(g, scale)
        m = DequantizeLinear(levels, scale)"""


def window(name: str) -> Case:
    def body(half: Half, _: int) -> str:
        return f"""size = Constant<value_int = 8>()
            window = {name}<output_datatype = {half.number}>(size) m = Mul(g, window)"""

    return Case(body=body)


CASES: Final = {
    "Cast": Case(body=lambda half, _: f"f = Cast<to = 1>(g) m = Cast<to = {half.number}>(f)"),
    "Cast with saturate": Case(
        body=lambda half, _: (
            f"""short = Cast<to = 17, saturate = 0>(g)
            m = Cast<to = {half.number}>(short)"""
        ),
        first=19,
    ),
    "Cast with round_mode": Case(
        body=lambda half, _: (
            f"""power = Cast<to = 24, round_mode = "down">(g)
            m = Cast<to = {half.number}>(power)"""
        ),
        first=24,
    ),
    "CastLike": Case(body=lambda half, _: "f = Cast<to = 1>(g) m = CastLike(f, h)"),
    "QuantizeLinear": Case(body=quantised, first=19),
    "DequantizeLinear": Case(
        body=lambda half, _: (
            f"""f = Cast<to = 1>(g) levels = QuantizeLinear(f, step)
            m = DequantizeLinear<output_dtype = {half.number}>(levels, step)"""
        ),
        first=23,
    ),
    "RandomNormal": Case(
        body=lambda half, _: (
            f"""
            noise = RandomNormal<dtype = {half.number}, scale = 1e-30, shape = [1, 1, 8, 8]>()
            m = Add(g, noise)"""
        )
    ),
    "RandomUniform": Case(
        body=lambda half, _: (
            f"""
            noise = RandomUniform<dtype = {half.number}, high = 1e-30, shape = [1, 1, 8, 8]>()
            m = Add(g, noise)"""
        )
    ),
    "RandomNormalLike": Case(
        body=lambda half, _: (
            f"""noise = RandomNormalLike<dtype = {half.number}, scale = 1e-30>(x)
            other = RandomNormalLike<scale = 1e-30>(g)
            noises = Conv(noise, mean) some = Add(g, noises) m = Add(some, other)"""
        )
    ),
    "RandomUniformLike": Case(
        body=lambda half, _: (
            f"""noise = RandomUniformLike<dtype = {half.number}, high = 1e-30>(x)
            noises = Conv(noise, mean) m = Add(g, noises)"""
        )
    ),
    "Multinomial": Case(
        body=lambda half, _: (
            f"""row = Constant<value = {half.name}[1, 1] {{{half(0)}}}>()
            index = Multinomial<dtype = 6>(row)
            none = Cast<to = {half.number}>(index) m = Add(g, none)"""
        )
    ),
    "EyeLike": Case(
        body=lambda half, _: (
            f"""square = Constant<value_ints = [8, 8]>()
            filled = ConstantOfShape(square) eye = EyeLike<dtype = {half.number}>(filled)
            m = Mul(g, eye)"""
        )
    ),
    "Bernoulli": Case(
        body=lambda half, _: (
            f"""likely = ConstantOfShape<value = float[1] {{1}}>(shape)
            ones = Bernoulli<dtype = {half.number}, seed = 1.0>(likely) m = Mul(g, ones)"""
        )
    ),
    "Constant": Case(
        body=lambda half, _: (
            f"""c = Constant<value = {half.name}[1] {{{half(0.5)}}}>()
            f = Constant<value_float = 2.0>() d = Cast<to = {half.number}>(f)
            e = Mul(c, d) m = Mul(g, e)"""
        )
    ),
    "ConstantOfShape": Case(
        body=lambda half, _: (
            f"""c = ConstantOfShape<value = {half.name}[1] {{{half(0.5)}}}>(shape)
            m = Mul(g, c)"""
        )
    ),
    "BlackmanWindow": window("BlackmanWindow"),
    "HammingWindow": window("HammingWindow"),
    "HannWindow": window("HannWindow"),
    "MelWeightMatrix": Case(
        body=lambda half, _: (
            f"""bins = Constant<value_int = 8>() length = Constant<value_int = 14>()
            rate = Constant<value_int = 8192>() low = Constant<value_float = 0.0>()
            high = Constant<value_float = 4096.0>()
            mel = MelWeightMatrix<output_datatype = {half.number}>(bins, length, rate, low, high)
            m = MatMul(g, mel)"""
        )
    ),
    "SequenceEmpty": Case(
        body=lambda half, _: (
            f"""empty = SequenceEmpty<dtype = {half.number}>()
            filled = SequenceInsert(empty, g)
            m = ConcatFromSequence<axis = 0>(filled)"""
        )
    ),
    "SequenceMap": Case(
        body=lambda half, _: (
            f"""parts = SplitToSequence<axis = 1>(h)
            halves = SequenceMap<body = half_of ({half.name}[1, 1, 8, 8] part)
                => ({half.name}[1, 1, 8, 8] smaller) {{ smaller = Mul(part, one) }}>(parts)
            together = ConcatFromSequence<axis = 1>(halves) m = Conv(together, mean)"""
        )
    ),
    "Optional": Case(
        body=lambda half, _: (
            f"""
            nothing = Optional<type: type_proto = {half.name}[1, 1, 8, 8]>()
            there = OptionalHasElement(nothing) something = Optional(g)
            m = If(there) <
                then_branch = a () => ({half.name}[1, 1, 8, 8] n)
                    {{ n = OptionalGetElement(nothing) }},
                else_branch = b () => ({half.name}[1, 1, 8, 8] s)
                    {{ s = OptionalGetElement(something) }}
            >"""
        )
    ),
    "LayerNormalization": Case(
        body=lambda half, _: (
            f"""scale = ConstantOfShape<value = {half.name}[1] {{{half(1)}}}>(eight)
            m = LayerNormalization<stash_type = {half.number}, axis = -1>(g, scale)"""
        )
    ),
    "RMSNormalization": Case(
        body=lambda half, _: (
            f"""scale = ConstantOfShape<value = {half.name}[1] {{{half(1)}}}>(eight)
            m = RMSNormalization<stash_type = {half.number}, axis = -1>(g, scale)"""
        ),
        first=23,
    ),
    "GroupNormalization": Case(
        body=lambda half, _: (
            f"""
            m = GroupNormalization<stash_type = {half.number}, num_groups = 1>(g, one, zero)"""
        ),
        first=21,
    ),
    "BatchNormalization": Case(
        body=lambda half, _: "m = BatchNormalization(g, one, zero, zero, one)"
    ),
    "Attention": Case(
        body=lambda half, _: f"m = Attention<softmax_precision = {half.number}>(g, g, g)", first=23
    ),
    "If": Case(
        body=lambda half, _: (
            f"""yes = Constant<value = bool {{1}}>()
            m = If(yes) <
                then_branch = a () => ({half.name}[1, 1, 8, 8] s) <{half.name}[1, 1, 8, 8] f>
                    {{ f = Cast<to = {half.number}>(x) s = Conv(f, mean) }},
                else_branch = b () => ({half.name}[1, 1, 8, 8] t) <{half.name}[1] w = {{{half(2)}}}>
                    {{ t = Mul(g, w) }}
            >"""
        )
    ),
    "Loop": Case(
        body=lambda half, _: (
            f"""trips = Constant<value_int = 2>() yes = Constant<value = bool {{1}}>()
            m = Loop(trips, yes, g) <body = turn (int64 i, bool go, {half.name}[1, 1, 8, 8] a)
                => (bool on, {half.name}[1, 1, 8, 8] b)
                {{ on = Identity(go) w = Constant<value = {half.name} {{{half(0.5)}}}>()
                   b = Mul(a, w) }}>"""
        )
    ),
    "Scan": Case(
        body=lambda half, _: (
            f"""start = Constant<value = {half.name}[8] {{{half(*[0] * 8)}}}>()
            side = Constant<value_ints = [8, 8]>() plane = Reshape(g, side)
            last, rows = Scan<num_scan_inputs = 1, body = turn ({half.name}[8] a, {half.name}[8] b)
                => ({half.name}[8] c, {half.name}[8] d)
                {{ c = Add(a, b) d = Identity(b) }}>(start, plane)
            m = Reshape(rows, shape)"""
        )
    ),
    "a function": Case(
        body=lambda half, _: "m = own.Halved(x, mean)",
        functions=lambda half: (
            f"""<domain: "own", opset_import: ["" : 17]>
            Halved (a, mean) => (b) {{
                f = Cast<to = {half.number}>(a) c = Conv(f, mean)
                w = Constant<value = {half.name}[1] {{{half(0.5)}}}>() b = Mul(c, w) }}"""
        ),
    ),
    "a function with a type as its attribute": Case(
        body=lambda half, _: f"f = own.As <kind: int = {half.number}>(x) m = Conv(f, mean)",
        functions=lambda _: (
            """<domain: "own", opset_import: ["" : 17]>
            As <kind> (a) => (b) { c = Identity(a) b = Cast<to: int = @kind>(c) }"""
        ),
    ),
    "Mul by a sparse initializer": Case(
        body=lambda half, _: "m = Mul(g, sparse)", sparse="initializer"
    ),
    "Constant, sparse": Case(body=lambda half, _: "m = Mul(g, sparse)", sparse="constant"),
    "Gelu of com.microsoft": Case(body=lambda half, _: "m = com.microsoft.Gelu(g)"),
    "FusedMatMul of com.microsoft": Case(
        body=lambda half, _: "m = com.microsoft.FusedMatMul<alpha = 0.5>(g, g)"
    ),
}
"""By operator; what follows its name tells cases of one operator apart."""

BIT_CAST: Final = Case(
    body=lambda half, _: f"bits = BitCast<to = 4>(g) m = BitCast<to = {half.number}>(bits)",
    first=26,
)
"""The bits of a number in half precision, which float32 does not have."""
