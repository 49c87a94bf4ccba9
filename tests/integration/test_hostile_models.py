"""Hostile models end with their code, whatever the libraries that read them do."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.hostile.models import hostile_models
from worker.errors import CutworkError
from worker.models.engines.load import make_loader
from worker.models.files.file_cache import FileCache
from worker.models.files.profile import Profile
from worker.models.files.store import ModelFile


@pytest.mark.parametrize(
    "name",
    [
        *("shape-doubles", "weight-doubles", "huge-range", "huge-constant-of-shape"),
        *("empty-nodes", "sparse-huge", "text-words", "weight-without-data"),
    ],
)
def test_a_hostile_graph_ends_with_its_code(name: str, tmp_path: Path) -> None:
    (hostile,) = (file for file in hostile_models() if file.name == f"onnx/{name}.onnx")
    path = tmp_path / "own.onnx"
    path.write_bytes(hostile.data)
    file = ModelFile(name="own", path=path, sha256=name, profile=Profile())
    load = make_loader(threads=1, file_cache=FileCache(tmp_path / "cache"), own_engine=True)
    with pytest.raises(CutworkError) as error:
        load(file, "cpu").infer(np.zeros((1, 3, 32, 32), np.float32))
    assert error.value.code in hostile.ends
    assert len(str(error.value)) < 2_000
