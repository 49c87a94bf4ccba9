"""The pages of a listing: how they are decoded, and which are refused."""

import re
from collections.abc import Callable

import pytest

from producer.sync.listing.folder_walk import walk
from producer.sync.listing.objects import skip_empty_pages
from producer.sync.listing.page import (
    Entry,
    MalformedPage,
    Page,
    normalised_time,
    parse_page,
)


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
        ("9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59.999Z"),
        ("0001-01-01T00:00:00+23:59", "0001-01-01T00:00:00.000Z"),
    ],
)
def test_times_have_one_form(text: str, normal: str) -> None:
    assert normalised_time(text) == normal


def stored_as(storage_class: str, restored: str = "") -> bytes:
    more = f"<StorageClass>{storage_class}</StorageClass>{restored}</Contents>"
    return document("a", "b").replace(b"</Contents>", more.encode(), 1)


@pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE"])
def test_an_archived_object_is_marked(storage_class: str) -> None:
    archived = [entry.is_archived for entry in parse_page(stored_as(storage_class)).entries]
    assert archived == [True, False]
    restoring = "<RestoreStatus><IsRestoreInProgress>true</IsRestoreInProgress></RestoreStatus>"
    assert parse_page(stored_as(storage_class, restoring)).entries[0].is_archived
    restored = re.sub("true", "false", restoring).replace(
        "</RestoreStatus>",
        "<RestoreExpiryDate>2027-01-01T00:00:00Z</RestoreExpiryDate></RestoreStatus>",
    )
    assert not parse_page(stored_as(storage_class, restored)).entries[0].is_archived


@pytest.mark.parametrize("storage_class", ["GLACIER_IR", "STANDARD_IA", "INTELLIGENT_TIERING"])
def test_other_classes_are_read_at_once(storage_class: str) -> None:
    assert not any(entry.is_archived for entry in parse_page(stored_as(storage_class)).entries)


def empty(token: str | None) -> Page:
    return Page([], [], is_truncated=True, token=token)


def test_empty_pages_are_skipped_to_the_first_that_is_not() -> None:
    full = parse_page(document("a"))
    pages = {"1": empty("2"), "2": empty("3"), "3": full}
    assert skip_empty_pages(empty("1"), pages.__getitem__) == full


@pytest.mark.parametrize("follow", [lambda _: empty("1"), lambda token: empty(token + "1")])
def test_empty_pages_without_an_end_are_an_error(follow: Callable[[str], Page]) -> None:
    with pytest.raises(MalformedPage, match="empty pages in a row"):
        skip_empty_pages(empty("1"), follow)


def test_a_folder_is_not_cut_short_where_a_token_is_missing() -> None:
    page = parse_page(document("x/a"))._replace(token=None, folders=[])
    with pytest.raises(MalformedPage, match="expected a token"):
        list(walk(lambda _folder, _token: page, prefix="x/", after=""))
