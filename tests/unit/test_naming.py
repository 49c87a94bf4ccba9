"""Names of outputs, and conflicts between sources whose outputs have the same name."""

import random
from collections.abc import Iterable

import pytest

from producer.contract.run import DEFAULT_NAME
from producer.contract.s3_prefix import S3Prefix
from producer.sync.plan.name_conflicts import NameConflicts
from producer.sync.plan.naming import Naming, Template, is_too_long, split_key

SOURCE = S3Prefix("photos", "in/")


def key(template: str, source_key: str, *, image_format: str = "png", target: str = "out/") -> str:
    naming = Naming(
        source=SOURCE,
        target=S3Prefix("cutouts", target),
        template=Template.parse(template),
        image_format=image_format,
    )
    return naming.key(source_key)


@pytest.mark.parametrize(
    ("template", "source_key", "output"),
    [
        (DEFAULT_NAME, "in/a.jpg", "out/a.png"),
        (DEFAULT_NAME, "in/x/y/a.b.JPG", "out/x/y/a.b.png"),
        (DEFAULT_NAME, "in/x.y/a", "out/x.y/a.png"),
        (DEFAULT_NAME, "in//../.a", "out//../.a.png"),
        (DEFAULT_NAME, "in/{parent}{0}.jpg", "out/{parent}{0}.png"),
        ("{parent}{name}.{ext}", "in/x/a.JPG", "out/x/a.JPG.png"),
        ("{parent}cut/{stem}{suffix}.{ext}", "in/x/a.JPG", "out/x/cut/a.JPG.png"),
        ("v1/{parent}{{{stem}}}-cut", "in/x/a.jpg", "out/v1/x/{a}-cut"),
    ],
)
def test_names(template: str, source_key: str, output: str) -> None:
    assert key(template, source_key) == output


@pytest.mark.parametrize(
    ("image_format", "extension"),
    [("png", "png"), ("webp", "webp"), ("tiff", "tif"), ("jpeg", "jpg"), ("zip", "zip")],
)
def test_extensions(image_format: str, extension: str) -> None:
    assert key(DEFAULT_NAME, "in/a.jpg", image_format=image_format) == f"out/a.{extension}"
    assert key(DEFAULT_NAME, "in/a.jpg", target="{x}/") == "{x}/a.png"


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("{stem}.{ext}", r"\{parent\} once.*two folders would overwrite"),
        ("{parent}{parent}{stem}", r"\{parent\} once"),
        ("{stem}{parent}x", r"\{parent\} before the other fields"),
        ("{parent}cutout.{ext}", r"either \{stem\} or \{name\} once"),
        ("{parent}{stem}{name}", r"either \{stem\} or \{name\} once"),
        ("{parent}{suffix}{stem}", r"\{suffix\} once at most, after \{stem\}"),
        ("{parent}{stem}.{format}", r"expected the fields .*found \{format\}"),
        ("{parent}{stem.__class__}", r"found \{stem.__class__\}"),
        ("{parent}{stem[0]}", r"found \{stem\[0\]\}"),
        ("{parent}{}", r"found \{\}"),
        ("{parent}{stem:>999999999}", r"plain fields"),
        ("{parent}{stem!r}", r"plain fields"),
        ("{parent}{stem", r"name: .*'\{parent\}\{stem'"),
    ],
)
def test_wrong_templates(template: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Template.parse(template)


def test_the_length_of_a_key_is_counted_in_bytes() -> None:
    assert not is_too_long("a" * 1024)
    assert is_too_long("a" * 1025)
    assert not is_too_long("ü" * 512)
    assert is_too_long("ü" * 512 + "a")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("s3://photos", S3Prefix("photos", "")),
        ("s3://photos/", S3Prefix("photos", "")),
        ("s3://photos/a", S3Prefix("photos", "a/")),
        ("s3://photos/a//", S3Prefix("photos", "a//")),
    ],
)
def test_places(text: str, place: S3Prefix) -> None:
    assert S3Prefix.parse(text) == place
    with pytest.raises(ValueError, match="expected s3://bucket or"):
        S3Prefix.parse(text.replace("s3:", "http:"))


def some_keys(seed: int) -> list[str]:
    chance = random.Random(seed)
    pieces = ["a", "b", ".", "-", "/", ".jpg", ".png", "a.a", "\x00", " ", "0", ".b-"]
    return sorted({"".join(chance.choices(pieces, k=chance.randrange(1, 6))) for _ in range(500)})


def naive(keys: Iterable[str]) -> dict[str, str | None]:
    first: dict[tuple[str, str], str] = {}
    conflicts = {}
    for one in keys:
        parts = split_key(one)
        claimed = first.setdefault((parts.parent, parts.stem), one)
        conflicts[one] = None if claimed == one else claimed
    return conflicts


@pytest.mark.parametrize("seed", range(20))
def test_conflicts_are_found_at_any_distance(seed: int) -> None:
    keys = some_keys(seed)
    expected = naive(keys)
    conflicts = NameConflicts(cursor="", list_earlier=lambda _: [])
    assert {one: conflicts.first_source(one) for one in keys} == expected
    assert sum(first_source is not None for first_source in expected.values()) > 5


@pytest.mark.parametrize("seed", range(5))
def test_conflicts_across_an_interruption(seed: int) -> None:
    keys = some_keys(seed)
    expected = naive(keys)
    lookups = 0

    def list_earlier(beginning: str) -> list[str]:
        nonlocal lookups
        lookups += 1
        return [one for one in keys if one.startswith(beginning)]

    for position in range(0, len(keys), 7):
        conflicts = NameConflicts(cursor=keys[position], list_earlier=list_earlier)
        later = keys[position + 1 :]
        assert [conflicts.first_source(one) for one in later] == [expected[one] for one in later]
    assert 0 < lookups < 20 * len(keys) / 7


@pytest.mark.parametrize(
    "template", ["{parent}{name}", "{parent}{stem}-{suffix}", "{parent}-{stem}.x{suffix}"]
)
def test_a_template_with_the_suffix_has_no_conflicts(template: str) -> None:
    assert Template.parse(template).has_suffix
    for seed in range(10):
        keys = some_keys(seed)
        assert len({key(template, "in/" + one) for one in keys}) == len(keys)
