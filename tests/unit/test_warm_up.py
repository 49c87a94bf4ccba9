"""A network is run once for every size of batch before the first image."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper

from tests.support.short_memory import MIB, in_a_process, leave
from tests.support.tiny_models import loaded, saved, value
from worker.errors import DeviceOutOfMemory
from worker.models.engines.engine import Engine
from worker.models.engines.load import loader
from worker.models.engines.onnx.engine import OnnxEngine
from worker.models.engines.warm_up import warm_up
from worker.models.files.file_cache import FileCache
from worker.models.files.profile import Profile
from worker.models.files.store import ModelFile


class Noted:
    """A real engine whose batches are noted, and which takes pictures as one on a GPU does."""

    def __init__(self, engine: OnnxEngine) -> None:
        self.facts, self.input_size, self.bytes = engine.facts, engine.input_size, engine.bytes
        self.pictures = engine.on_pictures()
        self.most = engine.most
        self.close = engine.close
        self.shapes: list[tuple[int, ...]] = []
        self._engine = engine

    def infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        self.shapes.append(batch.shape)
        return self._engine.infer(batch)


def tiled(path: Path, *axes: int | str) -> Path:
    """The mean of an image's channels, on a way that takes 48 MiB for 256 × 256 pixels."""
    nodes = [
        helper.make_node("Constant", [], ["times"], value_ints=[1, 32, 1, 1]),
        helper.make_node("Tile", ["x", "times"], ["many"]),
        helper.make_node("Exp", ["many"], ["powers"]),
        helper.make_node("ReduceMean", ["powers"], ["y"], axes=[1], keepdims=1),
    ]
    return saved(path, nodes, [value("x", axes)], [value("y", (axes[0], 1, *axes[2:]))])


def tried(engine: Engine, profile: Profile) -> None:
    warm_up(engine, profile=profile, name="own")


def test_every_rung_of_the_ladder_is_run(tmp_path: Path) -> None:
    engine = Noted(loaded(tiled(tmp_path / "own.onnx", "n", 3, "h", "w"), most=6))
    tried(engine, Profile(size=(64, 32)))
    assert engine.shapes == [(images, 3, 32, 64) for images in (1, 2, 4, 6)]


def test_no_batch_is_larger_than_the_profile_of_its_model_says(tmp_path: Path) -> None:
    path = tiled(tmp_path / "own.onnx", "n", 3, "h", "w")
    file = ModelFile(name="own", path=path, sha256="own", profile=Profile(batch=2))
    load = loader(threads=1, disk=FileCache(tmp_path / "disk"), batch=8)
    assert load(file, "cpu").most == 2
    assert load(replace(file, sha256="other", profile=Profile()), "cpu").most == 8


def test_a_batch_is_padded_to_its_rung_and_the_padding_is_nobody_s(tmp_path: Path) -> None:
    engine = loaded(tiled(tmp_path / "own.onnx", "n", 3, "h", "w"), most=4)
    batch = np.random.default_rng(0).random((3, 3, 8, 8), np.float32)
    maps = engine.infer(batch)
    assert maps.shape == (3, 8, 8)
    np.testing.assert_allclose(maps, np.exp(batch).mean(axis=1), rtol=1e-5)


def test_a_profile_that_contradicts_its_graph_is_left_to_the_job(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Noted(loaded(tiled(tmp_path / "own.onnx", "n", 3, 8, 8)))
    tried(engine, Profile(size=64))
    assert engine.shapes == []
    assert "own could not be tried out: size: own takes 8×8" in caplog.text


def squeezed(folder: Path, side: int) -> tuple[str, list[int], int]:
    """What a try in 125 MiB says, the sizes of the batches that were tried, and what is kept."""
    engine = Noted(loaded(tiled(folder / "own.onnx", "n", 3, "h", "w"), most=8))
    engine.pictures = None
    tried(engine, Profile(size=32))
    engine.shapes.clear()
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("worker.models.engines.warm_up").addHandler(handler)
    leave(125 * MIB)
    try:
        tried(engine, Profile(size=side))
    except DeviceOutOfMemory as error:
        said.append(str(error))
    return said[0], [shape[0] for shape in engine.shapes], engine.most


def test_what_does_not_fit_is_left_out(tmp_path: Path) -> None:
    said, batches, most = in_a_process(squeezed, tmp_path, 256)
    assert (
        f"{batches[-1]} images at once do not fit into the memory; at most {most} will be" in said
    )
    assert batches in ([1, 2], [1, 2, 4])
    assert most == batches[-2]


def test_a_device_without_room_for_one_image_is_said(tmp_path: Path) -> None:
    said, batches, _ = in_a_process(squeezed, tmp_path, 1024)
    assert said.startswith("own.onnx on an input of (1, 3, 1024, 1024): expected enough memory")
    assert batches == [1]
