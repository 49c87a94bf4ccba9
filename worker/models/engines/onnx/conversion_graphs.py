"""ONNX graphs for the steps before and after a network, for any device of ONNX Runtime."""

from typing import Final

from onnx import ModelProto, TensorProto, parser

from worker.imaging.lanczos import ROUNDING_MARGIN
from worker.imaging.masks import SALIENCY_THRESHOLD
from worker.models.engines.onnx.map_channel import MapChannel
from worker.models.files.profile import FULL_RANGE

_HEADER: Final = '<ir_version: 8, opset_import: ["" : 17]>'


def input_graph(element: int) -> ModelProto:
    """Return a graph that turns an image into a model's input, as `masks.to_input` does.

    Inputs: `image` uint8 (H, W, 3), `vertical` (h, H), `horizontal` (W, w), `scale` and `offset`
    (3, 1, 1), all float32, `channel_order` int64 (3). Output: `x` (1, 3, h, w), of the ONNX element
    type `element`.
    """
    number = TensorProto.DataType.Name(element).lower()
    # The height first: with interleaved colours the image is a matrix (H, 3·W), so that the large
    # image need not be transposed. The other order would save at most a tenth of the
    # multiplications. A resized image has integer values of 0…255 again; LANCZOS overshoots at
    # edges, which `Clip` undoes.
    return parser.parse_model(f"""{_HEADER}
    cutwork (
        uint8[H, W, 3] image, float[h, H] vertical, float[W, w] horizontal,
        float[3, 1, 1] scale, float[3, 1, 1] offset, int64[3] channel_order
    ) => ({number}[1, 3, h, w] x)
    <
        int64[2] matrix = {{0, -1}}, int64[3] interleaved = {{0, -1, 3}}, int64[1] first = {{0}},
        float zero = {{0}}, float peak = {{255}}
    > {{
        levels = Cast<to = 1>(image)
        rows = Reshape(levels, matrix)
        resized_rows = MatMul(vertical, rows)
        columns = Reshape(resized_rows, interleaved)
        planes = Transpose<perm = [2, 0, 1]>(columns)
        resized = MatMul(planes, horizontal)
        clipped = Clip(resized, zero, peak)
        rounded = Round(clipped)
        scaled = Mul(rounded, scale)
        normalised = Add(scaled, offset)
        ordered = Gather<axis = 0>(normalised, channel_order)
        batch = Unsqueeze(ordered, first)
        x = Cast<to = {element}>(batch)
    }}""")


def mask_graph(
    *,
    element: int,
    rank: int,
    channel: MapChannel,
    sigmoid: bool,
    value_range: tuple[float, float],
    stretch: bool,
) -> ModelProto:
    """Return a graph that turns one saliency map of a batch into a mask, as `masks.soft_mask` does.

    Inputs: `maps` of the ONNX element type `element` with `rank` axes, `index` int64 (1), the map's
    place in the batch, `vertical` (H, h) and `horizontal` (w, W), float32. Outputs: `mask` uint8
    (H, W), and `statistics` float32 (3): minimum, maximum, and 0, or NaN where the network's output
    contains NaN or infinity. `value_range` has the map's values for background and foreground,
    after the sigmoid.
    """
    number = TensorProto.DataType.Name(element).lower()
    axes = ", ".join(f"n{axis}" for axis in range(rank))
    sides = ", ".join(str(axis) for axis in range(1, rank) if axis != channel.axis)
    activated, selected = "Identity(wide)", "Identity(activated)"
    if channel.axis is not None:
        selected = f"Gather<axis = {channel.axis}>(activated, channel)"
    if channel.softmax:
        activated = f"Softmax<axis = {channel.axis}>(wide)"
    low, high = value_range
    map_ = "Identity(likely)"
    if value_range != FULL_RANGE:
        map_ = "Div(above_low, range)"
    has_foreground, stretched = "Identity(is_salient)", "Identity(map)"
    if stretch:
        has_foreground, stretched = "And(is_salient, varies)", "Div(difference, span)"
    # Infinity times 0 is NaN, and a sum with a NaN in it is NaN. Rounding must not push a full mask
    # just below 255, see `worker.imaging.upsample`.
    return parser.parse_model(f"""{_HEADER}
    cutwork (
        {number}[{axes}] maps, int64[1] index, float[H, h] vertical, float[w, W] horizontal
    ) => (uint8[H, W] mask, float[3] statistics)
    <
        int64[1] channel = {{{channel.number}}}, int64[2] sides = {{{sides}}},
        int64[1] three = {{3}}, float zero = {{0}}, float peak = {{255}},
        float level = {{{1 / 255}}},
        float rounding_margin = {{{float(ROUNDING_MARGIN)}}},
        float threshold = {{{SALIENCY_THRESHOLD}}},
        float low = {{{low}}}, float range = {{{high - low}}}
    > {{
        image_maps = Gather<axis = 0>(maps, index)
        wide = Cast<to = 1>(image_maps)
        activated = {activated}
        selected = {selected}
        shape = Shape(selected)
        plane = Gather(shape, sides)
        raw = Reshape(selected, plane)
        zeros = Mul(raw, zero)
        finite = ReduceSum(zeros)
        likely = {"Sigmoid" if sigmoid else "Identity"}(raw)
        above_low = Sub(likely, low)
        map = {map_}
        minimum = ReduceMin(map)
        maximum = ReduceMax(map)
        span = Sub(maximum, minimum)
        is_salient = Greater(maximum, threshold)
        varies = GreaterOrEqual(span, level)
        difference = Sub(map, minimum)
        has_foreground = {has_foreground}
        stretched = {stretched}
        saliency = Where(has_foreground, stretched, zero)
        resized_columns = MatMul(saliency, horizontal)
        resized = MatMul(vertical, resized_columns)
        sum = Add(resized, rounding_margin)
        levels = Mul(sum, peak)
        clipped = Clip(levels, zero, peak)
        mask = Cast<to = 2>(clipped)
        column = Concat<axis = 0>(minimum, maximum, finite)
        statistics = Reshape(column, three)
    }}""")
