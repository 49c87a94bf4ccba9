"""Manifests in every format: their valid lines, and the errors of the others."""

import contextlib
import gzip
import hashlib
import io
import json
import os
import resource
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from producer.contract.job import Job
from producer.contract.run import Failure
from producer.contract.s3_uri import ImageRef
from producer.sync.manifest.destinations import Destinations
from producer.sync.manifest.line import Record, rejection
from producer.sync.manifest.manifest import (
    BadLine,
    Line,
    LineSet,
    Manifest,
    ManifestError,
    open_manifest,
)

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


Row = dict[str, Any]
Written = Callable[[str, str | bytes], Path]
A, B, C = "s3://photos/a.jpg", "s3://cutouts/a.png", "s3://cutouts/a-mask.png"
HEADER = "source,image,mask\n"


@pytest.fixture
def written(tmp_path: Path) -> Written:
    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def no_s3() -> "S3Client":
    raise AssertionError("expected no use of S3")


@contextlib.contextmanager
def opened(place: str | Path) -> Iterator[Manifest]:
    with open_manifest(str(place), s3=no_s3) as manifest:
        yield manifest


def read(place: str | Path) -> tuple[list[BadLine], list[Line]]:
    with opened(place) as manifest:
        return list(manifest.check()), list(manifest.lines())


def numbered(place: str | Path) -> tuple[list[int], list[tuple[int, str, str | None, str | None]]]:
    """Return the numbers of the bad lines, and the fields of the good lines as text."""
    bad, good = read(place)
    plain = [
        (entry.number, str(entry.source), *(ref and str(ref) for ref in (entry.image, entry.mask)))
        for entry in good
    ]
    return [entry.number for entry in bad], plain  # type: ignore[return-value]  # of three


def reasons(place: str | Path) -> dict[int, str]:
    bad, _ = read(place)
    assert len({entry.number for entry in bad}) == len(bad)
    return {entry.number: entry.reason for entry in bad}


def as_csv(rows: list[Row]) -> bytes:
    lines = [
        ",".join(str(row.get(name) or "") for name in HEADER.strip().split(",")) for row in rows
    ]
    return (HEADER + "\n".join(lines)).encode()


def as_json_lines(rows: list[Row]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def as_parquet(rows: list[Row]) -> bytes:
    target = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), target)
    return target.getvalue()


ROWS: list[Row] = [
    {"source": A, "image": B, "mask": C},
    {"source": "s3://photos/b é.jpg", "image": "s3://cutouts/b.png", "mask": None},
    {"source": A, "image": None, "mask": "s3://cutouts/again.png"},
    {"source": "photos/d.jpg", "image": "s3://cutouts/d.png", "mask": ""},
    {"source": A, "image": "s3://cutouts/e.png", "mask": B},
]


@pytest.mark.parametrize(
    ("name", "content", "first"),
    [
        ("m.csv", as_csv(ROWS), 2),
        ("m.CSV", as_csv(ROWS), 2),
        ("m.csv.gz", gzip.compress(as_csv(ROWS)), 2),
        ("m.csv", b"\xef\xbb\xbf" + as_csv(ROWS).replace(b"\n", b"\r\n"), 2),
        ("unknown", as_csv(ROWS), 2),
        ("unknown", gzip.compress(as_csv(ROWS)), 2),
        ("m.jsonl", as_json_lines(ROWS), 1),
        ("m.ndjson.gz", gzip.compress(as_json_lines(ROWS)), 1),
        ("unknown", b"\xef\xbb\xbf \n\t" + as_json_lines(ROWS).replace(b"\n", b"\r\n"), 2),
        ("unknown.gz", gzip.compress(as_json_lines(ROWS)), 1),
        ("m.parquet", as_parquet(ROWS), 1),
        ("unknown", as_parquet(ROWS), 1),
    ],
)
def test_every_format_gives_the_same_lines(
    written: Written, name: str, content: bytes, first: int
) -> None:
    bad, good = numbered(written(name, content))
    assert bad == [first + 3, first + 4]
    assert good == [
        (first, A, B, C),
        (first + 1, "s3://photos/b é.jpg", "s3://cutouts/b.png", None),
        (first + 2, A, None, "s3://cutouts/again.png"),
    ]


def test_the_sha256_is_that_of_the_bytes(written: Written) -> None:
    content = gzip.compress(as_csv(ROWS))
    with opened(written("m.csv.gz", content)) as manifest:
        assert manifest.sha256 == hashlib.sha256(content).hexdigest()


def test_lines_can_be_read_from_any_number(written: Written) -> None:
    with opened(written("m.jsonl", as_json_lines(ROWS))) as manifest:
        assert [entry.number for entry in manifest.lines(after=1)] == [2, 3]
        assert [entry.number for entry in manifest.lines(after=3)] == []
        assert [entry.number for entry in manifest.lines()] == [1, 2, 3]


def test_failures_are_a_manifest(written: Written) -> None:
    failure = Failure(
        source=ImageRef.parse(A), mask=ImageRef.parse(C), code="timeout", message="too\nlong"
    )
    content = failure.model_dump_json() + "\n" + failure.model_dump_json(exclude_none=True)
    bad, good = numbered(written("failures.jsonl", content))
    assert (bad, good) == ([2], [(1, A, None, C)])
    assert numbered(written("none.jsonl", "")) == ([], [])


def test_lines_are_counted_as_an_editor_counts_them(written: Written) -> None:
    quoted = (
        '\n"note","mask","source"\r\n'
        '"two\r\nlines, a comma and a ""quote""","s3://cutouts/1","s3://photos/1"\r\n'
        "\r\n"
        ',"s3://cutouts/a ""b""\nc",s3://photos/2\r\n'
        "x,s3://cutouts/3,s3://photos/3"
    )
    assert numbered(written("m.csv", quoted))[1] == [
        (3, "s3://photos/1", None, "s3://cutouts/1"),
        (6, "s3://photos/2", None, 's3://cutouts/a "b"\nc'),
        (8, "s3://photos/3", None, "s3://cutouts/3"),
    ]


def test_bad_lines_say_what_was_expected_and_found(written: Written) -> None:
    lines = [
        (f"{A},{B}", "expected 3 fields, as the header has, found 2"),
        (f"{A},{B},{C},", "expected 3 fields, as the header has, found 4"),
        (f",{B},", "source: field required"),
        (f"{A},,", "expected a destination: image, mask, or both"),
        (f"{A},{B},{B}", "source, image and mask must be three different objects"),
        (f"{A},{A},", "source, image and mask must be three different objects"),
        (f"photos/a.jpg,{B},", "source: expected s3://bucket/key, found 'photos/a.jpg'"),
        (f"{A},s3://C+t/a.png,", "image.bucket: expected a bucket name"),
        (f"{A},,s3://cutouts/{'é' * 513}", "the key has 1026 bytes, S3 allows 1 to 1024"),
        (f'{A},"{B}"x,', "expected CSV, found an error up to line 11: ',' expected after '\"'"),
        (f"{A},{B * 9000},", "found more than 65,536 bytes up to line 12"),
        ('"' + f"{'x' * 70}\n" * 1000 + '",,', "found more than 65,536 bytes up to line 1013"),
        (f"s3://{'x' * 60_000}/a,{B},", "source.bucket: expected a bucket name"),
    ]
    good = f"{A},{B},{C}"
    sentences = reasons(written("m.csv", HEADER + "\n".join([*(text for text, _ in lines), good])))
    numbers = [*range(2, 14), 1014]
    assert list(sentences) == numbers
    for number, (_, sentence) in zip(numbers, lines, strict=True):
        assert sentence in sentences[number]
        assert len(sentences[number]) < 500
    _, kept = read(written("m.csv", HEADER + "\n".join([*(text for text, _ in lines), good])))
    assert [entry.number for entry in kept] == [1015]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[1]", "expected a JSON object, found '[1]'"),
        ("null", "expected a JSON object, found 'null'"),
        ('{"source": ', "expected a JSON object, found '{\"source\":' (EOF while parsing"),
        ('{"source": "s3://photos/\0"}', "control character"),
        ('{"source": "s3://photos/\\ud800"}', "expected a JSON object"),
        ("[" * 60_000, "recursion limit exceeded"),
        ('{"a":' * 12_000, "recursion limit exceeded"),
        ('{"size": ' + "9" * 60_000 + "}", "number out of range"),
        ('{"size": "' + "9" * 66_000 + '"}', "found more than 65,536 bytes up to line 1"),
        (json.dumps({"source": 5, "image": B}), "source: expected s3://bucket/key, found 5"),
        (
            json.dumps({"source": A, "image": ["x" * 60_000]}),
            "image: expected s3://bucket/key, found ['xxx",
        ),
        ('{"mask": "s3://cutouts/a"}', "source: field required"),
    ],
)
def test_a_bad_line_of_json_is_skipped(written: Written, text: str, sentence: str) -> None:
    good = json.dumps(ROWS[0])
    bad, kept = read(written("m.jsonl", f"{text}\n\n{good}\n"))
    assert [entry.number for entry in bad] == [1]
    assert sentence in bad[0].reason
    assert len(bad[0].reason) < 500
    assert [entry.number for entry in kept] == [3]


def test_the_last_of_equal_json_keys_counts(written: Written) -> None:
    text = f'{{"source": "x", "source": "{A}", "image": "{B}"}}'
    assert numbered(written("m.jsonl", text)) == ([], [(1, A, B, None)])


def test_a_second_line_with_the_same_destination_is_bad(written: Written) -> None:
    rows = [
        {"source": A, "image": "s3://cutouts/1", "mask": "s3://cutouts/2"},
        {"source": A, "image": A, "mask": "s3://cutouts/3"},
        {"source": "s3://photos/b", "image": "s3://cutouts/2", "mask": "s3://cutouts/1"},
        {"source": A, "image": "s3://cutouts/3"},
        {"source": A, "mask": "s3://cutouts/1"},
    ]
    sentences = reasons(written("m.jsonl", as_json_lines(rows)))
    assert "three different objects" in sentences.pop(2)
    sentence = "expected destinations that no other line has, found one of line 1"
    assert sentences == {3: sentence, 5: sentence}


def test_duplicate_destinations_are_found_among_many(tmp_path: Path) -> None:
    # Enough that whole chunks of every share are written to disk.
    count = 80_000
    with (tmp_path / "scratch").open("w+b") as scratch:
        destinations = Destinations(scratch)
        for number in range(count):
            destinations.add(f"s3://cutouts/{number}", number)
        destinations.add("s3://cutouts/7", count)
        destinations.add(f"s3://cutouts/{count - 1}", count + 1)
        assert scratch.tell() > 0
        assert sorted(destinations.clashes()) == [
            (count, 7, False),
            (count + 1, count - 1, False),
        ]


def test_a_set_of_lines_contains_the_numbers_added() -> None:
    numbers = {1, 8, 9, 32_767, 32_768, 10**15}
    lines = LineSet()
    for number in numbers:
        lines.add(number)
    around = {number + step for number in numbers for step in (-1, 0, 1)}
    assert {number for number in around if number in lines} == numbers


@pytest.mark.parametrize(
    ("source", "image", "mask"),
    [
        (A, B, C),
        (A, B, None),
        (A, None, C),
        (A, None, None),
        (None, B, C),
        (A, B, B),
        (A, A, B),
        (A, B, A),
        ("s3://abc/" + "é" * 256, B, None),
        ("s3://abc/" + "\U0001f600" * 256, B, None),
        ("s3://abc/" + "\U0001f600" * 257, B, None),
        ("s3://abc/" + "x" * 1024, B, None),
        ("s3://abc/" + "x" * 1025, B, None),
        ("s3://abc/\n\r\0 ", B, None),
        ("s3://abc//", B, None),
        ("s3://abc/", B, None),
        ("s3://abc", B, None),
        ("s3://ab/x", B, None),
        ("s3://" + "a" * 63 + "/x", B, None),
        ("s3://" + "a" * 64 + "/x", B, None),
        ("s3://a_b/x", B, None),
        ("s3://abc\n/x", B, None),
        ("S3://abc/x", B, None),
        (" s3://abc/x", B, None),
    ],
)
def test_a_line_is_valid_if_it_makes_a_job(
    source: str | None, image: str | None, mask: str | None
) -> None:
    record = Record(1, source, image, mask)
    places = {"source": source, "image": image, "mask": mask}
    try:
        job = Job.model_validate({name: place for name, place in places.items() if place})
    except ValueError:
        assert rejection(record)
    else:
        assert rejection(record) is None
        assert Line.from_record(record) == Line(1, job.source, job.image, job.mask)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("m.csv", "", "found none"),
        ("m.csv", "\n\n", "found none"),
        ("m.csv", "src,image\n", "expected a column source and a column image, mask, or both"),
        ("m.csv", "src,image\n", "found 'src', 'image'"),
        ("m.csv", "source,out\n", "found 'source', 'out'"),
        ("m.csv", "source, image\n", "found 'source', ' image'"),
        ("m.csv", "source;image\n", "found 'source;image'"),
        ("m.csv", "source,image,image\n", "expected columns with different names"),
        ("m.csv", "x" * 70_000, "expected CSV with a header, found more than 65,536 bytes"),
        ("m.csv", "source,".encode("utf-16"), "expected UTF-8, found invalid bytes in line 1"),
        ("m.csv", HEADER.encode() + b"\xe9,,\n", "expected UTF-8, found invalid bytes in line 2"),
        ("m.csv", HEADER + f'{A},"{B},\n', "a quoted field of line 2 is not closed"),
        (
            "m.csv",
            HEADER + f'{A},"{B},\n' + f"{A},{B},\n" * 2000,
            "a quoted field of line 2 is not closed",
        ),
        ("m.csv.gz", "not gzip", "(Not a gzipped file"),
        ("m.csv.gz", gzip.compress(as_csv(ROWS))[:-12], "is it complete"),
        ("m.jsonl", b'{"source": "\xff"}', "expected UTF-8, found invalid bytes in line 1"),
        ("m.parquet", "", "expected Parquet with UTF-8 text"),
        ("m.parquet", b"PAR1" + b"x" * 40, "expected Parquet with UTF-8 text"),
        ("m.parquet", as_parquet([{"src": A, "mask": B}]), "found 'src', 'mask'"),
        ("m.parquet", as_parquet([{"source": 1, "mask": B}]), "in the column source, found int64"),
    ],
)
def test_an_unreadable_manifest_is_refused_completely(
    written: Written, name: str, content: str | bytes, sentence: str
) -> None:
    path = written(name, content)
    with pytest.raises(ManifestError) as caught:
        read(path)
    assert sentence in str(caught.value)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 600


def test_broken_parquet_is_refused(written: Written) -> None:
    whole = bytearray(as_parquet(ROWS))
    latin = pa.table({"source": pa.array([b"\xff"]).view(pa.string()), "mask": ["x"]})
    parquet.write_table(latin, target := io.BytesIO())
    whole[4:60] = b"\xff" * 56
    for content, sentence in ((bytes(whole), "to its end"), (target.getvalue(), "codec")):
        with pytest.raises(ManifestError, match=sentence):
            read(written("m.parquet", content))


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


@pytest.mark.parametrize(
    ("pairs", "bad"),
    [
        (["a→b", "b→a"], {2: 3, 3: 2}),
        (["a→b", "b→c", "c→d"], {2: 3, 3: 4}),
        (["b→c", "a→b"], {3: 2}),
        (["a→b", "a→c", "a→d"], {}),
        (["a→b", "c→d"], {}),
    ],
)
def test_a_destination_is_not_another_line_s_source(
    tmp_path: Path, pairs: list[str], bad: dict[int, int]
) -> None:
    lines = [f"s3://photos/{pair[0]},s3://photos/{pair[2]}" for pair in pairs]
    path = tmp_path / "some.csv"
    path.write_text("\n".join(["source,image", *lines]))
    with open_manifest(str(path), s3=no_s3) as manifest:
        found = {line.number: line.reason for line in manifest.check()}
    expected = "expected destinations that no other line has, found the source of line"
    assert found == {number: f"{expected} {other}" for number, other in bad.items()}


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
