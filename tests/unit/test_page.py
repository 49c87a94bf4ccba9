"""The pages of a listing: how they are decoded, and which are refused."""

from typing import TYPE_CHECKING

import pytest

from producer.sync.listing.page import (
    Entry,
    MalformedPage,
    Page,
    normalised_time,
    parse_page,
)

if TYPE_CHECKING:
    pass


def document(*keys: str, encoding: str = "<EncodingType>url</EncodingType>") -> bytes:
    contents = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2024-01-31T00:00:00Z</LastModified>"
        "<ETag>&quot;e-2&quot;</ETag><Size>5</Size><Owner><ID>Key</ID></Owner></Contents>"
        for key in keys
    )
    return (
        f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{contents}'
        f"<IsTruncated>true</IsTruncated>{encoding}<NextContinuationToken>t</NextContinuationToken>"
        "<CommonPrefixes><Prefix>x%2Fy+z/</Prefix></CommonPrefixes></ListBucketResult>"
    ).encode()


def test_only_keys_are_decoded() -> None:
    page = parse_page(document("a//b", "a/../b", ".", "a+b", "a%2Bb", "a%252Bb", "%01", "%C3%BC"))
    keys = [entry.key for entry in page.entries]
    assert keys == ["a//b", "a/../b", ".", "a b", "a+b", "a%2Bb", "\x01", "ü"]
    assert page.entries[0] == Entry("a//b", 5, "2024-01-31T00:00:00.000Z", "e-2")
    assert page._replace(entries=[]) == Page([], ["x/y z/"], True, "t")
    plain = parse_page(document("a+b", "a%2Bb", "&amp;lt;", encoding=""))
    assert [entry.key for entry in plain.entries] == ["a+b", "a%2Bb", "&lt;"]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"<html/>", "expected ListBucketResult, found html"),
        (b"not XML", "expected XML, found b'not XML'"),
        (document("a").replace(b"<Size>5</Size>", b""), "found 1, 0, 1 and 1"),
    ],
)
def test_a_malformed_page_is_described(body: bytes, sentence: str) -> None:
    with pytest.raises(MalformedPage, match=sentence):
        parse_page(body)


def test_no_entity_of_a_page_reads_a_file() -> None:
    evil = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]>'
    page = parse_page(evil + document("a&e;b", encoding=""))
    assert [entry.key for entry in page.entries] == ["a"]


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("2024-01-01T00:00:00.000Z", "2024-01-01T00:00:00.000Z"),
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00.000Z"),
        ("2024-01-01T00:00:00.123456Z", "2024-01-01T00:00:00.123Z"),
        ("2024-01-01T02:00:00+02:00", "2024-01-01T00:00:00.000Z"),
    ],
)
def test_times_have_one_form(text: str, normal: str) -> None:
    assert normalised_time(text) == normal
