"""Manifests in every format: their valid lines, and the errors of the others."""

import gzip
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from producer.contract.job import Job
from producer.contract.run import Failure
from producer.contract.s3_uri import ImageRef
from producer.sync.manifest.line import Record, rejection
from producer.sync.manifest.manifest import (
    Line,
    ManifestError,
)

if TYPE_CHECKING:
    pass


from tests.support.manifests import (
    HEADER,
    ROWS,
    A,
    B,
    C,
    Written,
    as_csv,
    as_json_lines,
    as_parquet,
    numbered,
    opened,
    read,
    reasons,
    writer,
)


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return writer(tmp_path)


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
