"""Warm-up: a network runs once for every batch size before the first image."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.recording_engine import RecordingEngine, tiled_mean
from tests.support.tiny_models import loaded
from worker.models.engines.load import make_loader
from worker.models.engines.onnx.graph import prepare
from worker.models.engines.warm_up import warm_up
from worker.models.files.file_cache import FileCache
from worker.models.files.profile import Profile
from worker.models.files.store import ModelFile


def test_every_batch_size_is_run(tmp_path: Path) -> None:
    engine = RecordingEngine(
        loaded(tiled_mean(tmp_path / "own.onnx", "n", 3, "h", "w"), max_batch=6)
    )
    warm_up(engine, profile=Profile(size=(64, 32)), name="own")
    assert engine.shapes == [(images, 3, 32, 64) for images in (1, 2, 4, 6)]


def test_no_batch_is_larger_than_the_profile_allows(tmp_path: Path) -> None:
    path = tiled_mean(tmp_path / "own.onnx", "n", 3, "h", "w")
    file = ModelFile(name="own", path=path, sha256="own", profile=Profile(batch=2))
    load = make_loader(threads=1, file_cache=FileCache(tmp_path / "disk"), batch=8, prepare=prepare)
    assert load(file, "cpu").max_batch == 2
    assert load(replace(file, sha256="other", profile=Profile()), "cpu").max_batch == 8


def test_a_batch_is_padded_and_the_padding_s_maps_are_dropped(tmp_path: Path) -> None:
    engine = loaded(tiled_mean(tmp_path / "own.onnx", "n", 3, "h", "w"), max_batch=4)
    batch = np.random.default_rng(0).random((3, 3, 8, 8), np.float32)
    maps = engine.infer(batch)
    assert maps.shape == (3, 8, 8)
    np.testing.assert_allclose(maps, np.exp(batch).mean(axis=1), rtol=1e-5)


def test_warm_up_ignores_a_profile_that_contradicts_its_graph(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = RecordingEngine(loaded(tiled_mean(tmp_path / "own.onnx", "n", 3, 8, 8)))
    warm_up(engine, profile=Profile(size=64), name="own")
    assert engine.shapes == []
    assert "own could not be tried out: size: own takes 8×8" in caplog.text
