"""The Winograd engine against ONNX Runtime on the same graphs."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from tests.support.tiny_models import saved, value
from worker.models.engines.load import make_loader
from worker.models.engines.onnx.graph import prepare
from worker.models.engines.winograd.engine import WinogradEngine, load_winograd_engine
from worker.models.engines.winograd.operation import UnsupportedGraph
from worker.models.files.file_cache import FileCache
from worker.models.files.profile import Profile
from worker.models.files.store import ModelFile

Floats = NDArray[np.float32]
_RNG = np.random.default_rng(6)


class Graph:
    """Builds a graph of nodes with random weights."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        self._axes = (1, channels, height, width)
        self._nodes: list[NodeProto] = []
        self._weights: list[TensorProto] = []

    def add(self, kind: str, *sources: str, name: str | None = None, **attributes: Any) -> str:
        name = name or f"{kind}{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(sources), [name], **attributes))
        return name

    def add_constant(self, values: NDArray[Any]) -> str:
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(values, name))
        return name

    def conv(
        self, source: str, channels: int, to: int, *, side: int = 3, step: int = 1, stride: int = 1
    ) -> str:
        weights = _RNG.normal(0, (channels * side**2) ** -0.5, (to, channels, side, side))
        bias = _RNG.normal(0, 0.1, to)
        return self.add(
            *(
                "Conv",
                source,
                self.add_constant(weights.astype("f")),
                self.add_constant(bias.astype("f")),
            ),
            pads=[side // 2 * step] * 4,
            dilations=[step] * 2,
            strides=[stride] * 2,
        )

    def relu(self, source: str) -> str:
        return self.add("Relu", source)

    def pool(self, source: str) -> str:
        return self.add("MaxPool", source, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)

    def resize(self, source: str, height: int, width: int, channels: int) -> str:
        sizes = self.add_constant(np.array([1, channels, height, width], np.int64))
        mode = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        return self.add("Resize", source, "", "", sizes, **mode)

    def concat(self, *sources: str) -> str:
        return self.add("Concat", *sources, axis=1)

    def saved(self, path: Path, result: str) -> Path:
        self.add("Identity", result, name="y")
        inputs, outputs = [value("x", self._axes)], [value("y", None)]
        return saved(path, self._nodes, inputs, outputs, self._weights)


def both(path: Path, *, threads: int = 2, batch: int = 1) -> tuple[Floats, Floats]:
    """Return the maps (N, h, w) of the same noise: ONNX Runtime's, and the Winograd engine's."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    _, *axes = session.get_inputs()[0].shape
    images = _RNG.random((batch, *axes), np.float32)
    theirs = [session.run(None, {"x": image[np.newaxis]})[0][0, 0] for image in images]
    engine = load_winograd_engine(path, threads=threads)
    ours = engine.infer(images)
    engine.close()
    return np.stack(theirs), ours


@pytest.mark.parametrize("step", [1, 2, 3, 8])
@pytest.mark.parametrize("size", [(1, 1), (3, 9), (16, 16), (37, 50)])
def test_a_convolution_of_any_size(tmp_path: Path, step: int, size: tuple[int, int]) -> None:
    graph = Graph(3, *size)
    inner = graph.conv("x", 3, 5, step=step)
    path = graph.saved(tmp_path / "x.onnx", graph.conv(inner, 5, 1, step=step))
    theirs, ours = both(path)
    assert np.abs(ours - theirs).max() < 1e-5


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_many_tiles_and_few(tmp_path: Path, threads: int) -> None:
    """Threads share the tiles of a large layer, and the transform's elements of a small one."""
    graph = Graph(3, 150, 170)
    many = graph.relu(graph.conv("x", 3, 20))
    few = graph.relu(graph.conv(graph.pool(many), 20, 7))
    path = graph.saved(tmp_path / "x.onnx", graph.conv(few, 7, 1))
    theirs, ours = both(path, threads=threads)
    assert np.abs(ours - theirs).max() < 1e-5


def test_every_structure_of_isnet(tmp_path: Path) -> None:
    """Odd sizes, a layer in two concatenations, one within another, a sum, a stem with a stride."""
    graph = Graph(3, 45, 62)
    stem = graph.conv("x", 3, 8, stride=2)
    one = graph.relu(graph.conv(stem, 8, 8))
    two = graph.relu(graph.conv(graph.pool(one), 8, 6, step=2))
    up = graph.resize(two, 23, 31, 6)
    inner = graph.concat(up, one)
    outer = graph.concat(inner, one, stem)
    mixed = graph.relu(graph.conv(outer, 30, 8))
    summed = graph.relu(graph.add("Add", mixed, one))
    # The input of this ReLU is used a second time, so that the ReLU cannot be fused.
    bare = graph.conv(summed, 8, 1, side=1)
    both_ways = graph.add("Add", bare, graph.relu(bare))
    big = graph.resize(both_ways, 45, 62, 1)
    path = graph.saved(tmp_path / "x.onnx", graph.add("Sigmoid", big))
    theirs, ours = both(path, batch=3)
    assert ours.shape == (3, 45, 62)
    assert np.abs(ours - theirs).max() < 1e-5


def _transposed(graph: Graph) -> str:
    return graph.add("Transpose", graph.conv("x", 3, 1), perm=[0, 1, 3, 2])


def _grouped(graph: Graph) -> str:
    weights = graph.add_constant(np.ones((3, 1, 3, 3), np.float32))
    grouped = graph.add("Conv", "x", weights, pads=[1] * 4, group=3)
    return graph.conv(grouped, 3, 1)


def _nearest(graph: Graph) -> str:
    sizes = graph.add_constant(np.array([1, 1, 64, 64], np.int64))
    return graph.add("Resize", graph.conv("x", 3, 1), "", "", sizes, mode="nearest")


def _uneven(graph: Graph) -> str:
    """A size that does not match its scale: 33 pixels from 32 by 1.05."""
    scales = graph.add_constant(np.array([1, 1, 1.05, 1.05], np.float32))
    return graph.add("Resize", graph.conv("x", 3, 1), "", scales, mode="linear")


def _wide_pool(graph: Graph) -> str:
    return graph.add("MaxPool", graph.conv("x", 3, 1), kernel_shape=[3, 3], strides=[2, 2])


def _rows(graph: Graph) -> str:
    one = graph.conv("x", 3, 1)
    return graph.add("Concat", one, one, axis=2)


def _spread(graph: Graph) -> str:
    return graph.add(
        "Add", graph.conv("x", 3, 1), graph.add_constant(np.ones((1, 1, 1, 1), np.float32))
    )


def _cut_off(graph: Graph) -> str:
    """Values that are rounded to integers in between."""
    whole = graph.add("Cast", graph.conv("x", 3, 3), to=TensorProto.INT32)
    return graph.conv(graph.add("Cast", whole, to=TensorProto.FLOAT), 3, 1)


def _with_a_plane(graph: Graph) -> str:
    plane = graph.add_constant(np.ones((1, 1, 32, 32), np.float32))
    return graph.conv(graph.concat(graph.conv("x", 3, 2), plane), 3, 1)


def _spread_pool(graph: Graph) -> str:
    return graph.add(
        *("MaxPool", graph.conv("x", 3, 1)), kernel_shape=[2, 2], strides=[2, 2], dilations=[2, 2]
    )


@pytest.mark.parametrize(
    "add",
    [
        _transposed,
        _grouped,
        _nearest,
        _uneven,
        _wide_pool,
        _rows,
        _spread,
        _cut_off,
        _with_a_plane,
        _spread_pool,
    ],
)
def test_an_unsupported_graph_runs_on_onnx_runtime(tmp_path: Path, add: Any) -> None:
    graph = Graph(3, 32, 32)
    path = graph.saved(tmp_path / "x.onnx", add(graph))
    with pytest.raises(UnsupportedGraph):
        load_winograd_engine(path, threads=1)
    file = ModelFile(name="x", path=path, sha256="1" * 64, profile=Profile())
    engine = make_loader(
        threads=1, file_cache=FileCache(tmp_path), own_engine=True, prepare=prepare
    )(file, "cpu")
    assert engine.facts.engine.startswith("onnxruntime")
    assert engine.infer(np.zeros((1, 3, 32, 32), np.float32)).ndim == 3


def test_a_graph_whose_sizes_contradict_its_weights_is_refused(tmp_path: Path) -> None:
    """The compiled kernels do not check bounds, so sizes are checked before."""
    graph = Graph(3, 32, 32)
    weights = graph.add_constant(np.ones((1, 4, 3, 3), np.float32))
    path = graph.saved(tmp_path / "x.onnx", graph.add("Conv", "x", weights, pads=[1] * 4))
    with pytest.raises(UnsupportedGraph):
        load_winograd_engine(path, threads=1)


def test_a_dilation_across_the_whole_address_space_is_refused(tmp_path: Path) -> None:
    graph = Graph(3, 32, 32)
    path = graph.saved(tmp_path / "x.onnx", graph.conv("x", 3, 1, step=3_500_000_000_000_000_000))
    with pytest.raises(UnsupportedGraph, match="nearby"):
        load_winograd_engine(path, threads=1)


def test_a_layer_with_the_name_of_a_copy_is_refused(tmp_path: Path) -> None:
    graph = Graph(3, 32, 32)
    one = graph.conv("x", 3, 2)
    wide = graph.add("Relu", graph.conv(one, 2, 9), name="cat/1")
    both = graph.add("Concat", one, one, name="cat", axis=1)
    path = graph.saved(tmp_path / "x.onnx", graph.conv(graph.concat(both, wide), 13, 1))
    with pytest.raises(UnsupportedGraph, match="taken"):
        load_winograd_engine(path, threads=1)


def test_a_huge_input_is_not_allocated(tmp_path: Path) -> None:
    graph = Graph(3, 20_000, 20_000)
    path = graph.saved(tmp_path / "x.onnx", graph.conv("x", 3, 1))
    with pytest.raises(UnsupportedGraph, match="at most"):
        load_winograd_engine(path, threads=1)


def test_the_own_engine_is_chosen_by_the_setting(tmp_path: Path) -> None:
    graph = Graph(3, 32, 32)
    wide = graph.conv(graph.conv("x", 3, 64), 64, 64)
    path = graph.saved(tmp_path / "x.onnx", graph.conv(wide, 64, 1))
    file = ModelFile(name="x", path=path, sha256="2" * 64, profile=Profile())
    file_cache = FileCache(tmp_path)
    own = make_loader(threads=1, file_cache=file_cache, own_engine=True, prepare=prepare)(
        file, "cpu"
    )
    other = make_loader(threads=1, file_cache=file_cache, own_engine=False, prepare=prepare)(
        file, "cpu"
    )
    assert isinstance(own, WinogradEngine)
    assert other.facts.engine.startswith("onnxruntime")
    image = _RNG.random((1, 3, 32, 32), np.float32)
    assert np.abs(own.infer(image) - other.infer(image)).max() < 1e-5


def test_a_network_with_few_channels_runs_on_onnx_runtime(tmp_path: Path) -> None:
    """Its multiplications are too few to outweigh the cost of the transforms."""
    graph = Graph(3, 32, 32)
    narrow = graph.conv(graph.conv("x", 3, 16), 16, 16)
    path = graph.saved(tmp_path / "x.onnx", graph.conv(narrow, 16, 1))
    file = ModelFile(name="x", path=path, sha256="3" * 64, profile=Profile())
    engine = make_loader(
        threads=1, file_cache=FileCache(tmp_path), own_engine=True, prepare=prepare
    )(file, "cpu")
    assert engine.facts.engine.startswith("onnxruntime")


def test_a_closed_engine_and_another_size_are_refused(tmp_path: Path) -> None:
    graph = Graph(3, 32, 32)
    engine = load_winograd_engine(
        graph.saved(tmp_path / "x.onnx", graph.conv("x", 3, 1)), threads=2
    )
    with pytest.raises(ValueError, match="expected"):
        engine.infer(np.zeros((1, 3, 32, 31), np.float32))
    engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        engine.infer(np.zeros((1, 3, 32, 32), np.float32))
