"""Prepared graphs on disk: written once, repaired when damaged, one per output."""

from dataclasses import replace
from io import BufferedWriter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from tests.support.tiny_models import channel_mean, saved, value
from worker.errors import ModelInvalid
from worker.models.engines.onnx.graph import prepare
from worker.models.engines.onnx.prepared_graph import Prepare, prepared_graph
from worker.models.files.file_cache import FileCache
from worker.models.files.profile import Profile
from worker.models.files.store import ModelFile


def ready(
    path: Path,
    output: str | int | None = None,
    *,
    full_precision: bool = True,
    prepare: Prepare = prepare,
) -> Path:
    file = ModelFile(name=path.name, path=path, sha256="a" * 64, profile=Profile(output=output))
    file_cache = FileCache(path.parent / "cache")
    return prepared_graph(
        file, full_precision=full_precision, file_cache=file_cache, prepare=prepare
    )


def test_a_graph_is_prepared_once(tmp_path: Path) -> None:
    path = channel_mean(tmp_path / "own.onnx")
    first = ready(path)
    path.unlink()
    assert ready(path) == first
    with pytest.raises(FileNotFoundError):
        ready(path, full_precision=False)


def test_a_damaged_graph_is_prepared_again(tmp_path: Path) -> None:
    path = channel_mean(tmp_path / "own.onnx")
    prepared = ready(path)
    whole = prepared.read_bytes()
    prepared.write_bytes(whole[:-10])
    assert ready(path).read_bytes() == whole


def test_each_output_has_its_own_graph(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1]),
        helper.make_node("ReduceMax", ["x"], ["max"], axes=[1]),
    ]
    values = [value(name, (1, 1, 8, 8)) for name in ("mean", "max")]
    path = saved(tmp_path / "own.onnx", nodes, [value("x", (1, 3, 8, 8))], values)
    assert len({ready(path, output) for output in (None, 0, 1, "max", "mean")}) == 5


def test_a_refused_model_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "own.onnx").write_bytes(np.random.default_rng(1).bytes(1000))
    for _ in range(2):
        with pytest.raises(ModelInvalid):
            ready(tmp_path / "own.onnx")
    assert not list((tmp_path / "cache").rglob("*.onnx"))


def test_a_process_without_the_lock_writes_into_no_graph(tmp_path: Path) -> None:
    """The process of a worker that was killed may still write when the next worker begins."""
    path = channel_mean(tmp_path / "own.onnx")
    whole = ready(path).read_bytes()
    ready(path).unlink()
    orphans: list[BufferedWriter] = []

    def prepare_twice(source: Path, target: Path, **options: Any) -> None:
        if not orphans:
            orphans.append(target.open("wb"))
            raise SystemExit
        assert not target.exists()
        prepare(source, target, **options)
        orphans[0].write(b"other bytes")
        orphans[0].close()

    with pytest.raises(SystemExit):
        ready(path, prepare=prepare_twice)
    assert ready(path, prepare=prepare_twice).read_bytes() == whole
    assert not list((tmp_path / "cache").rglob("*.part"))


def test_a_model_that_cannot_be_loaded_has_its_own_name_in_the_error(tmp_path: Path) -> None:
    """And not that of the temporary file that a library names."""
    node = helper.make_node("Unheard", ["x"], ["y"])
    path = tmp_path / "own.onnx"
    saved(path, [node], [value("x", (1, 3, 8, 8))], [value("y", (1, 1, 8, 8))])
    with pytest.raises(ModelInvalid, match=r"own\.onnx cannot be loaded: .*Unheard") as caught:
        ready(path)
    assert "from own.onnx failed" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert ".part" not in str(caught.value)


def test_a_graph_counts_with_its_file_in_the_cache(tmp_path: Path) -> None:
    file_cache = FileCache(tmp_path / "cache", max_bytes=1_000)
    for name in ("other.onnx", "own.onnx"):
        path = file_cache.folder / name
        with file_cache.lock(path):
            partial = file_cache.partial_path(path)
            partial.write_bytes(bytes(400))
            file_cache.commit(partial, path, write_digest=True)
    file = ModelFile(name="s3://m/own", path=path, sha256="a" * 64, profile=Profile())

    def graph_of(length: int, output: int) -> Path:
        return prepared_graph(
            replace(file, profile=Profile(output=output)),
            full_precision=True,
            file_cache=file_cache,
            prepare=lambda _, target, **options: target.write_bytes(bytes(length)) and None,
        )

    assert graph_of(150, 0).stat().st_size == 150
    assert (file_cache.folder / "other.onnx").exists()
    assert graph_of(500, 1).stat().st_size == 500
    assert [path.stat().st_size for path in file_cache.folder.rglob("*.onnx")].count(400) == 1
    assert path.exists(), "the model's own file stays"
    with pytest.raises(ModelInvalid, match=r"expected at most 1,000 .* a file of 400 and"):
        graph_of(601, 2)
    assert not list(file_cache.folder.rglob("*.part"))
    # A file that is not in the cache does not count.
    outside = tmp_path / "outside.onnx"
    outside.write_bytes(bytes(400))
    file = replace(file, path=outside)
    assert graph_of(1_000, 3).stat().st_size == 1_000
