"""No two lines of a manifest have one destination, and none is another line's source."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from producer.sync.manifest.destinations import Destinations
from producer.sync.manifest.manifest import (
    LineSet,
    open_manifest,
)

if TYPE_CHECKING:
    pass


from tests.support.manifests import (
    A,
    Written,
    as_json_lines,
    no_s3,
    reasons,
    writer,
)


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return writer(tmp_path)


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
