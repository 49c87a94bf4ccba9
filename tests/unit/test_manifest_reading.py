"""Where manifests are read from, twice and in bounded memory."""

import gzip
import os
import resource
import sys
import threading
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from producer.sync.manifest.manifest import (
    ManifestError,
)

if TYPE_CHECKING:
    pass


from tests.support.manifests import (
    HEADER,
    ROWS,
    A,
    B,
    Written,
    as_csv,
    as_json_lines,
    as_parquet,
    numbered,
    opened,
    reasons,
    writer,
)


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return writer(tmp_path)


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("nowhere/m.csv", "No such file or directory"),
        (".", "expected a file, an s3://bucket/key object, or - for standard input"),
        ("s3://photos", "expected s3://bucket/key"),
    ],
)
def test_a_missing_manifest_is_refused(place: str, sentence: str) -> None:
    with pytest.raises(ManifestError) as caught, opened(place):
        pass
    assert sentence in str(caught.value)


def test_standard_input_is_read_twice(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    with written("m", as_json_lines(ROWS)).open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert numbered("-")[0] == [4, 5]


def test_a_pipe_is_read_twice(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=[as_parquet(ROWS)])
    writer.start()
    assert numbered(pipe)[0] == [4, 5]
    writer.join()


def test_a_manifest_that_changes_is_refused(written: Written) -> None:
    path = written("m.csv", as_csv(ROWS))
    with opened(path) as manifest:
        assert len(list(manifest.check())) == 2
        written("m.csv", as_csv(ROWS[:1]))
        with pytest.raises(ManifestError, match="changed while it was read"):
            list(manifest.lines())
        path.unlink()
        with pytest.raises(ManifestError, match="the file vanished while it was read"):
            list(manifest.lines())


def test_a_full_disk_is_reported(written: Written) -> None:
    path = written("m.csv", HEADER + f"{A},{B},\n" * 2000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(path) as manifest:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
        try:
            with pytest.raises(ManifestError, match=r"File too large.*set TMPDIR"):
                list(manifest.check())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_bomb_is_streamed(written: Written) -> None:
    bomb = HEADER.encode() + b"x" * 5_000_000 + b'\n"' + b"\n" * 90_000 + b'",,\n'
    path = written("m.csv.gz", gzip.compress(bomb, 1))
    tracemalloc.start()
    try:
        assert list(reasons(path)) == [2, 3]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000
