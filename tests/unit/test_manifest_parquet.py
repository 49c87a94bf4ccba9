"""Manifests in Parquet: types of text, batches, dictionaries, damage."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from pyarrow import parquet

from producer.sync.manifest.manifest import (
    ManifestError,
    open_manifest,
)

if TYPE_CHECKING:
    pass


from tests.support.manifests import ROWS, A, B, Written, as_parquet, no_s3, read, writer


def test_broken_parquet_is_refused(written: Written) -> None:
    whole = bytearray(as_parquet(ROWS))
    latin = pa.table({"source": pa.array([b"\xff"]).view(pa.string()), "mask": ["x"]})
    parquet.write_table(latin, target := io.BytesIO())
    whole[4:60] = b"\xff" * 56
    for content, sentence in ((bytes(whole), "to its end"), (target.getvalue(), "codec")):
        with pytest.raises(ManifestError, match=sentence):
            read(written("m.parquet", content))


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return writer(tmp_path)


def test_parquet_of_other_text_types_is_read(written: Written) -> None:
    long = "s3://cutouts/" + "x" * 1_000_000
    table = pa.table(
        {
            "source": pa.array([A, "s3://photos/ü", A], pa.large_string()),
            "image": pa.array([B, long, None]).dictionary_encode(),
            "mask": pa.nulls(3),
        }
    )
    parquet.write_table(table, target := io.BytesIO())
    bad, good = read(written("m.parquet", target.getvalue()))
    assert [entry.number for entry in good] == [1]
    assert [entry.number for entry in bad] == [2, 3]
    assert "S3 allows 1 to 1024" in bad[0].reason


def test_rows_of_parquet_are_numbered_over_batches(written: Written) -> None:
    rows = [{"source": A, "image": f"s3://cutouts/{n}"} for n in range(2500)]
    _, good = read(written("m.parquet", as_parquet(rows)))
    assert [(entry.number, entry.image and entry.image.key) for entry in good] == [
        (n + 1, str(n)) for n in range(2500)
    ]


@pytest.mark.parametrize("keeps_schema", [True, False])
def test_a_long_text_that_many_rows_share_is_read_once(tmp_path: Path, keeps_schema: bool) -> None:
    """With Arrow's schema in the file the column is a dictionary, without it plain text."""
    path = tmp_path / "some.parquet"
    rows, text = 500, "s3://photos/" + "x" * 2_000_000
    images = [f"s3://cutouts/{number}.png" for number in range(rows)]
    sources = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([text]))
    table = pa.table({"source": sources, "image": images})
    parquet.write_table(table, path, store_schema=keeps_schema)
    default = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(default)
    pa.set_memory_pool(pool)
    try:
        with open_manifest(str(path), s3=no_s3) as manifest:
            assert len([*manifest.check()]) == rows
    finally:
        pa.set_memory_pool(default)
    assert 0 < pool.max_memory() < 100_000_000
