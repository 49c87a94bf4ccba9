"""Plans, against a naive planner that holds everything in memory."""

import random
from collections.abc import Sequence

import pytest
from PIL import Image
from pillow_heif import register_heif_opener

from producer.contract.options import Options
from producer.contract.run import RunSpec
from producer.contract.s3_prefix import S3Prefix
from producer.contract.s3_uri import ImageRef
from producer.sync.listing.page import Entry
from producer.sync.plan.existing_outputs import ExistingOutputs
from producer.sync.plan.layout import Layout
from producer.sync.plan.naming import Naming, Template, split_key
from producer.sync.plan.planner import Output, Planner, reserved_prefixes
from producer.sync.plan.selection import IMAGE_SUFFIXES, Selection
from worker.imaging.readers.signature import FORMATS

SOURCE = S3Prefix("sources", "in/")
TEMPLATES = [
    "{parent}{stem}.{ext}",
    "{parent}{name}.{ext}",
    "x/{parent}cut/{stem}",
    "{parent}-{stem}.z",
]


def time(second: int) -> str:
    return f"2024-01-31T00:{second // 60:02d}:{second % 60:02d}.000Z"


def some_sources(chance: random.Random) -> list[Entry]:
    pieces = ["a", "b", ".", "-", "/", ".jpg", ".png", "a.a", " ", "0", ".k", "//"]
    keys = {"".join(chance.choices(pieces, k=chance.randrange(1, 6))) for _ in range(400)}
    return [
        Entry("in/" + key, chance.choice([0, 9]), time(chance.randrange(3000)), "e")
        for key in sorted(keys)
    ]


def chosen(
    *,
    outputs: Sequence[S3Prefix],
    source: S3Prefix = SOURCE,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    since: float | None = None,
) -> Selection:
    return Selection(
        source=source,
        outputs=outputs,
        include=include,
        exclude=exclude,
        since=since,
        all_files=True,
    )


def naming(place: S3Prefix, template: str, image_format: str) -> Naming:
    return Naming(
        source=SOURCE,
        target=place,
        template=Template.parse(template),
        image_format=image_format,
    )


@pytest.mark.parametrize("seed", range(12))
def test_a_plan_equals_a_naive_one(seed: int) -> None:
    chance = random.Random(seed)
    template = TEMPLATES[seed % len(TEMPLATES)]
    sources = some_sources(chance)
    namings = [
        naming(S3Prefix("images", "o/"), template, "png"),
        naming(S3Prefix("masks"), template, "webp"),
    ]
    stored = [
        {
            one.key(source.key): time(chance.randrange(3000))
            for source in sources
            if chance.random() < 0.8
        }
        for one in namings
    ]
    since = 1_706_659_200 + 500  # 2024-01-31T00:08:20Z

    first: dict[tuple[str, str], str] = {}
    expected = []
    for source in sources:
        parts = split_key(source.key)
        if source.key.endswith("/") and not source.size:
            expected.append((source.key, "excluded", "folder"))
            continue
        if any(part.endswith(".k") for part in source.key.split("/")):
            expected.append((source.key, "excluded", "filtered"))
            continue
        other = first.setdefault((parts.parent, parts.stem), source.key)
        stored_times = [
            have.get(one.key(source.key)) for one, have in zip(namings, stored, strict=True)
        ]
        if source.modified < time(500):
            expected.append((source.key, "excluded", "old"))
        elif other != source.key and "{name}" not in template:
            expected.append((source.key, "conflicting", "name_conflict"))
        elif None in stored_times:
            expected.append((source.key, "send", "missing"))
        elif min(text for text in stored_times if text) < source.modified:
            expected.append((source.key, "send", "older"))
        else:
            expected.append((source.key, "current", "newer"))
    assert len({reason for _, _, reason in expected}) >= 5

    middle = len(sources) // 2
    assert len({one for _, one, _ in expected}) == (3 if "{name}" in template else 4)
    for start, window in ((0, 10_000), (0, 4), (middle, 10_000), (middle, 10)):
        cursor = sources[start - 1].key if start else ""
        outputs = [
            Output(one, existing(one, have, cursor, window))
            for one, have in zip(namings, stored, strict=True)
        ]
        planner = Planner(
            bucket=SOURCE.bucket,
            selection=chosen(outputs=[], exclude=["*.k"], since=since),
            image=outputs[0],
            mask=outputs[1],
            resend=None,
            cursor=cursor,
            list_earlier=lambda text: [one for one in sources if one.key.startswith(text)],
            has_unique_names=Template.parse(template).has_suffix,
            reserved=(),
        )
        steps = list(planner.plan(sources[start:]))
        assert [(step.cursor, step.verdict, step.reason) for step in steps] == expected[start:]
        sizes = {source.key: source.size for source in sources}
        for step in steps:
            if step.verdict == "send":
                assert step.source == ImageRef(bucket="sources", key=step.cursor)
                assert (step.bytes, step.etag) == (sizes[step.cursor], "e")
                assert [step.image, step.mask] == [
                    ImageRef(bucket=one.target.bucket, key=one.key(step.cursor)) for one in namings
                ]


def existing(one: Naming, have: dict[str, str], cursor: str, window: int) -> ExistingOutputs:
    after = one.beginning(cursor) if cursor else ""
    entries = (Entry(key, 1, have[key], "e") for key in sorted(have) if key > after)

    def find(key: str) -> Entry | None:
        return Entry(key, 1, have[key], "e") if key in have else None

    return ExistingOutputs(entries, after=after, find_object=find, max_entries=window)


def test_outputs_in_order_need_no_single_lookups() -> None:
    keys = [f"a/img-{number:04d}.png" for number in range(1000)]
    stored = {key: time(1) for key in keys[::2]}
    looked_up = existing(naming(S3Prefix("images"), TEMPLATES[0], "png"), stored, "", 20)
    assert [looked_up.modified(key) for key in keys] == [stored.get(key) for key in keys]
    assert looked_up.lookups == 0
    assert looked_up.modified(keys[0]) == time(1)
    assert looked_up.lookups == 1


@pytest.mark.parametrize(
    ("patterns", "matched"),
    [
        (["*.jpg"], "a.jpg x/y/b.jpg"),
        (["raw/*"], "raw/c.png"),
        (["raw/"], "raw/c.png raw/d/e.png x/raw/f.png"),
        (["/raw/"], "raw/c.png raw/d/e.png"),
        (["x/**"], "x/y/b.jpg x/raw/f.png"),
        (["x/**/*.png", "[!-.]g"], "x/raw/f.png"),
        (["*.JPG"], "G.JPG"),
    ],
)
def test_patterns(patterns: list[str], matched: str) -> None:
    keys = ["a.jpg", "x/y/b.jpg", "raw/c.png", "raw/d/e.png", "x/raw/f.png", "G.JPG"]

    def selected_keys(include: list[str], exclude: list[str]) -> list[str]:
        selection = chosen(outputs=[], include=include, exclude=exclude)
        entries = [Entry("in/" + key, 1, time(0), "e") for key in keys]
        selected = (entry.key for entry in entries if not selection.exclusion_by_key(entry))
        return [key.removeprefix("in/") for key in selected]

    assert selected_keys(patterns, []) == matched.split()
    assert selected_keys([], patterns) == [key for key in keys if key not in matched.split()]


@pytest.mark.parametrize("pattern", ["", "#a", "!a"])
def test_wrong_patterns(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"expected a pattern such as \*\.jpg"):
        Layout.from_spec(RunSpec(source="s3://abc", image="s3://abc/o", exclude=(pattern,)))


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        (RunSpec(manifest="list.csv"), "expected a source"),
        (RunSpec(source="s3://abc/a"), "found none"),
        (RunSpec(source="abc", image="s3://abc/a"), "expected s3://bucket"),
        (RunSpec(source="s3://abc/a", image="s3://abc/a/"), "image: expected a prefix other than"),
        (RunSpec(source="s3://abc/a", mask="s3://abc/a"), "mask: expected a prefix other than"),
        (
            RunSpec(source="s3://abc", image="s3://abd", mask="s3://abd"),
            "two prefixes.*png",
        ),
        (
            RunSpec(source="s3://abc", image="s3://abd", name="{stem}"),
            "two folders would overwrite",
        ),
    ],
)
def test_an_impossible_specification_is_refused_before_any_request(
    spec: RunSpec, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        Layout.from_spec(spec)


def test_one_prefix_can_hold_images_and_masks_of_two_formats() -> None:
    options = Options(mask_format="webp")
    places = Layout.from_spec(
        RunSpec(source="s3://abc", image="s3://abd", mask="s3://abd", options=options)
    )
    assert places.image is not None
    assert places.mask is not None
    assert (places.image.key("a.jpg"), places.mask.key("a.jpg")) == ("a.png", "a.webp")


def test_outputs_stay_out_of_other_prefixes() -> None:
    source, image, mask = (
        S3Prefix("sources", "out/in/"),
        S3Prefix("sources", "out/"),
        S3Prefix("sources", "out/masks/"),
    )
    template = Template.parse(TEMPLATES[0])
    outputs = [
        Output(Naming(source=source, target=one, template=template, image_format="png"), None)
        for one in (image, mask)
    ]
    planner = Planner(
        bucket=source.bucket,
        selection=chosen(source=source, outputs=[image, mask]),
        image=outputs[0],
        mask=outputs[1],
        resend="forced",
        cursor="",
        list_earlier=lambda _: [],
        has_unique_names=False,
        reserved=reserved_prefixes(outputs, source),
    )
    keys = [
        "out/in/a.jpg",
        "out/in/in/a.jpg",
        "out/in/masks/a.jpg",
        "out/in/x/" + "é" * 505 + ".jpg",
    ]
    steps = list(planner.plan([Entry(key, 1, time(0), "e") for key in keys]))
    assert [(step.verdict, step.reason) for step in steps] == [
        ("send", "forced"),
        ("conflicting", "name_misplaced"),
        ("conflicting", "name_misplaced"),
        ("conflicting", "name_too_long"),
    ]
    assert "'out/masks/a.png' would be in 'out/masks/'" in steps[2].message
    assert "1026 bytes" in steps[3].message
    assert steps[3].image is not None
    assert steps[3].mask is None


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("a.jpg", None),
        ("a/B.JPEG", None),
        ("a.b.HeIc", None),
        ("a.jpg/b.tif", None),
        (".DS_Store", "not_image"),
        ("a/notes.txt", "not_image"),
        ("a.jpg.mp4", "not_image"),
        ("a.jpg/b", "not_image"),
        ("README", "not_image"),
        ("a/.jpg", "not_image"),
        ("a/._b.jpg", "not_image"),
        ("a/b.jpg/", "folder"),
    ],
)
def test_only_names_of_images_are_sources(key: str, reason: str | None) -> None:
    entry = Entry(f"in/{key}", 0 if key.endswith("/") else 9, time(1), "e")
    selection = Selection(source=SOURCE, outputs=[], include=[], exclude=[], since=None)
    assert selection.exclusion_by_key(entry) == reason
    expected = "folder" if reason == "folder" else None
    assert chosen(outputs=[]).exclusion_by_key(entry) == expected


def test_every_format_that_workers_read_has_a_suffix() -> None:
    suffixes = Image.registered_extensions()
    register_heif_opener()
    for name in FORMATS:
        assert {end for end, kind in suffixes.items() if kind == name} & {*IMAGE_SUFFIXES}, name


@pytest.mark.parametrize("ignore_case", [True, False])
def test_patterns_match_in_any_case_if_asked(ignore_case: bool) -> None:
    selection = Selection(
        source=SOURCE,
        outputs=[],
        include=["*.jpg"],
        exclude=["Raw/"],
        since=None,
        ignore_case=ignore_case,
    )
    taken = {
        key: selection.exclusion_by_key(Entry(f"in/{key}", 9, time(1), "e")) is None
        for key in ("a.JPG", "raw/a.jpg", "b.jpg")
    }
    assert taken == {"a.JPG": ignore_case, "raw/a.jpg": not ignore_case, "b.jpg": True}
