"""The format of an output follows from its name, or is refused."""

import pytest

from producer import InvalidJob, Job, Options
from producer.contract.formats import FORMAT_BY_SUFFIX, fit_formats
from producer.contract.run import RunSpec
from producer.contract.s3_uri import ImageRef
from producer.sync.plan.known import mark_known
from producer.sync.plan.step import Step
from worker.imaging.encode import FORMATS

WHITE = "#ffffff"


def fitted(image: str, mask: str | None = None, **options: object) -> tuple[str, str]:
    job = Job(
        source="s3://photos/a.jpg",
        image=f"s3://cutouts/{image}",
        mask=mask and f"s3://masks/{mask}",
        options=Options.model_validate(options),
    )
    fit = fit_formats(job).options
    return fit.image_format, fit.mask_format


def test_the_suffixes_are_those_of_the_encoder() -> None:
    assert {
        suffix: name for name, kind in FORMATS.items() for suffix in kind.suffixes
    } == FORMAT_BY_SUFFIX


def test_the_default_format_follows_the_suffix() -> None:
    assert fitted("a.png") == ("png", "png")
    assert fitted("a.webp") == ("webp", "png")
    assert fitted("x.png/a.AVIF", "m.tif") == ("avif", "tiff")
    assert fitted("a.jpg", background=WHITE) == ("jpeg", "png")
    assert fitted("a.zip", image_format="zip") == ("zip", "png")


def test_other_names_say_nothing() -> None:
    for name in ("a", "a.bin", "x.webp/a", "webp", ".hidden"):
        assert fitted(name) == ("png", "png")
        assert fitted(name, image_format="webp") == ("webp", "png")


@pytest.mark.parametrize(
    ("image", "mask", "options", "sentence"),
    [
        ("a.webp", None, {"image_format": "avif"}, "image_format: expected webp.*found avif"),
        ("a.png", "m.png", {"mask_format": "webp"}, "mask_format: expected png.*found webp"),
        ("a.jpg", None, {}, "jpeg has no transparency.*'a.jpg'"),
        ("a.png", "m.jpg", {}, "mask_format.*'m.jpg'"),
        ("a.webp", None, {"bit_depth": 16}, "bit_depth"),
    ],
)
def test_a_name_that_contradicts_the_options_is_refused(
    image: str, mask: str | None, options: dict[str, object], sentence: str
) -> None:
    with pytest.raises(InvalidJob, match=sentence):
        fitted(image, mask, **options)


def test_a_run_counts_such_inputs_as_conflicting() -> None:
    spec = RunSpec(source="s3://photos/", image="s3://cutouts/")
    steps = [
        Step(
            name,
            "send",
            "missing",
            source=ImageRef.parse(f"s3://photos/{name}"),
            image=ImageRef.parse(f"s3://cutouts/{name}"),
        )
        for name in ("a.png", "b.webp", "c.jpg")
    ]
    marked = mark_known(steps, spec, lambda _: set())
    assert [step.verdict for step in marked] == ["send", "send", "conflicting"]
    assert marked[2].reason == "name_misleading"
