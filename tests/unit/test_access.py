"""Allow lists."""

import pytest

from producer.contract.s3_uri import ImageRef
from worker.config.access import AllowedPrefix, require_allowed
from worker.errors import Forbidden


@pytest.mark.parametrize(
    ("prefix", "reference", "allowed"),
    [
        ("s3://shop", "s3://shop/a", True),
        ("s3://shop/", "s3://shop/a/b", True),
        ("s3://shop", "s3://shopping/a", False),
        ("s3://shop/photos", "s3://shop/photos/a", True),
        ("s3://shop/photos/", "s3://shop/photos/a", True),
        ("s3://shop/photos", "s3://shop/photos-private/a", False),
        ("s3://shop/photos", "s3://shop/photos", False),
        ("s3://shop/photos", "s3://shop/other/photos/a", False),
        ("*", "s3://anything/at/all", True),
    ],
)
def test_prefixes_match_whole_segments(prefix: str, reference: str, allowed: bool) -> None:
    assert AllowedPrefix.parse(prefix).covers(ImageRef.parse(reference)) is allowed


def test_the_error_names_the_reference_the_allow_list_and_the_variable() -> None:
    with pytest.raises(Forbidden) as caught:
        require_allowed(
            ImageRef.parse("s3://other/a"),
            [AllowedPrefix.parse("s3://shop/photos")],
            action="read",
            variable="CUTWORK_READ_FROM",
        )
    for part in ("s3://other/a", "s3://shop/photos", "CUTWORK_READ_FROM"):
        assert part in str(caught.value)


def test_nothing_is_allowed_by_default() -> None:
    with pytest.raises(Forbidden, match="may read nothing"):
        require_allowed(ImageRef.parse("s3://other/a"), [], action="read", variable="X")


@pytest.mark.parametrize(
    "text",
    [
        "shop",
        "https://shop",
        "s3://",
        "s3:///x",
        "**",
        "s3://*/private",
        "s3://shop/*",
        "s3://Sh+p",
    ],
)
def test_an_invalid_prefix_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected s3://bucket"):
        AllowedPrefix.parse(text)
