"""Listings in key order: cut into ranges, of a store that lists by folder, and of odd pages."""

import random
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from deploy.local import LocalStack, free_ports
from producer.sync.listing.folder_walk import walk
from producer.sync.listing.key_ranges import KeyRanges
from producer.sync.listing.objects import (
    ListingFailed,
    find_object,
    folder_fetcher,
    list_objects,
    listing_client,
    page_fetcher,
)
from producer.sync.listing.page import (
    Entry,
    MalformedPage,
    OutOfOrder,
    Page,
    normal_time,
    parse_page,
)

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

BUCKET = "listed"
FLAT = [f"flat/img-{number:05d}.jpg" for number in range(0, 900, 3)]
ODD = ["a", "a b/c", "a+b", "a%2Bc", "a-b", "a.b", "a/b", "a/c", "ü", "ú", "\uffee", "𝄞", "n\nl"]
ODD = sorted(f"odd/{key}" for key in ODD)


@pytest.fixture(scope="module")
def s3(stack: LocalStack) -> Iterator["S3Client"]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stack.environment().items():
            patch.setenv(name, value)
        client = listing_client()
    plain = stack.s3()
    plain.create_bucket(Bucket=BUCKET)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: plain.put_object(Bucket=BUCKET, Key=key), [*FLAT, *ODD]))
    yield client
    client.close()


def listed(s3: "S3Client", prefix: str, after: str = "") -> list[str]:
    return [entry.key for entry in list_objects(s3, bucket=BUCKET, prefix=prefix, after=after)]


def test_a_prefix_is_listed_in_key_order(s3: "S3Client") -> None:
    assert listed(s3, "odd/") == ODD
    assert listed(s3, "") == sorted(FLAT + ODD)
    assert listed(s3, "nothing/") == []


@pytest.mark.parametrize("after", ["flat/", FLAT[40], ODD[0], ODD[4], "odd/a/", "odd/a/b", "p"])
def test_a_listing_starts_above_a_key(s3: "S3Client", after: str) -> None:
    expected = [key for key in sorted(FLAT + ODD) if key > after]
    assert listed(s3, "", after) == expected


def test_ranges_of_a_real_listing(s3: "S3Client") -> None:
    fetch = page_fetcher(s3, bucket=BUCKET, prefix="flat/", size=10)
    ranges = KeyRanges(fetch, prefix="flat/", after="", first=fetch(""), threads=6)
    entries = list(ranges.entries())
    assert [entry.key for entry in entries] == FLAT
    assert {(entry.size, entry.etag) for entry in entries} == {
        (0, "d41d8cd98f00b204e9800998ecf8427e")
    }
    assert ranges.requests <= 2 * len(FLAT) / 10 + 2


def test_folders_in_pages_come_in_key_order(s3: "S3Client") -> None:
    fetch = folder_fetcher(s3, bucket=BUCKET, size=3)
    assert [entry.key for entry in walk(fetch, prefix="odd/", after="")] == ODD


def test_one_object_is_as_a_listing_has_it(s3: "S3Client") -> None:
    listing = list(list_objects(s3, bucket=BUCKET, prefix="odd/a"))
    assert find_object(s3, bucket=BUCKET, key="odd/a") == listing[0]
    assert find_object(s3, bucket=BUCKET, key="odd/a ") is None


def test_failures_are_sentences(
    s3: "S3Client", stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ListingFailed, match=r"s3://no-such-bucket/a/: expected a bucket"):
        list(list_objects(s3, bucket="no-such-bucket", prefix="a/"))
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(ListingFailed, match=r"listed/: S3 refuses these.*s3:ListBucket"):
        list(list_objects(listing_client(), bucket=BUCKET, prefix=""))
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(ListingFailed, match=r"found no credentials; set AWS_PROFILE"):
        find_object(listing_client(), bucket=BUCKET, key="a")
    with pytest.raises(TypeError, match="listing_client"):
        find_object(stack.s3(), bucket=BUCKET, key="a")


def test_a_server_that_is_gone(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_ports(1)[0]}")
    with pytest.raises(ListingFailed, match=r"did not answer.*AWS_ENDPOINT_URL"):
        list(list_objects(listing_client(attempts=1), bucket=BUCKET, prefix=""))


def pages(keys: list[str], size: int, asked: list[str]) -> Callable[[str], Page]:
    def fetch(after: str) -> Page:
        asked.append(after)
        first = bisect_right(keys, after)
        entries = [Entry(key, 1, "2024-01-31T00:00:00.000Z", "e") for key in keys]
        return Page(entries[first : first + size], [], first + size < len(keys), None)

    return fetch


def shapes() -> dict[str, list[str]]:
    chance = random.Random(7)
    words = ["", "a", "b-", "ä", "𝄞", "\uffee", "/", "//", ".", "\x01", "9", "Z"]
    return {
        "long": ["p/" + (f"{number:08x}" * 40)[:300] for number in range(0, 2**32, 2**23)],
        "counter": [f"p/img-{number:06d}.jpg" for number in range(400)],
        "unpadded": sorted(f"p/{number}.jpg" for number in range(300)),
        "dates": [
            f"p/2024/{m:02d}/{d:02d}/{n:02d}" for m in (1, 2) for d in (1, 9) for n in (1, 5)
        ],
        "hexadecimal": sorted(f"p/{chance.getrandbits(64):016x}" for _ in range(400)),
        "one": ["p/"],
        "none": [],
        "anything": sorted({"p/" + "".join(chance.choices(words, k=6)) for _ in range(400)}),
        "clusters": sorted(
            f"p/{chance.choice('agz')}/{chance.randrange(300) ** 3}" for _ in range(300)
        ),
    }


@pytest.mark.parametrize("shape", shapes())
@pytest.mark.parametrize("size", [1, 7, 50])
def test_ranges_are_everything_once(shape: str, size: int) -> None:
    keys = sorted(set(shapes()[shape]))
    for after in ("", *keys[::150], "p/b", "q"):
        asked: list[str] = []
        fetch = pages(keys, size, asked)
        ranges = KeyRanges(fetch, prefix="p/", after=after, first=fetch(after), threads=4)
        expected = [key for key in keys if key > after]
        assert [entry.key for entry in ranges.entries()] == expected
        assert ranges.requests == len(asked)
        serial = max(1, -(-len(expected) // size))
        assert len(asked) <= 2 * serial + 3
        if serial == 1:
            assert len(asked) == 1


def test_what_is_read_ahead_is_bounded_and_ends_with_the_reader() -> None:
    asked: list[str] = []
    fetch = pages([f"p/{number:05d}" for number in range(5000)], 10, asked)
    before = threading.active_count()
    entries = KeyRanges(fetch, prefix="p/", after="", first=fetch(""), threads=4).entries()
    for _ in range(100):
        next(entries)
    assert threading.active_count() == before + 4
    del entries  # what nobody closes is closed when it is dropped
    assert threading.active_count() == before
    # Ten pages taken, two for each thread ahead, and as many guesses again at the very most.
    assert len(asked) <= 2 * (10 + 2 * 4) + 2


def test_what_a_thread_meets_is_raised_where_the_listing_is_read() -> None:
    good = pages([f"p/{number:05d}" for number in range(100)], 10, [])

    def fetch(after: str) -> Page:
        if after > "p/00050":
            raise ConnectionResetError("gone")
        return good(after)

    before = threading.active_count()
    with pytest.raises(ConnectionResetError, match="gone"):
        list(KeyRanges(fetch, prefix="p/", after="", first=fetch(""), threads=4).entries())
    assert threading.active_count() == before


def test_a_store_without_order_is_refused() -> None:
    page = Page([Entry("b", 1, "", ""), Entry("a", 1, "", "")], [], False, None)
    ranges = KeyRanges(lambda _: page, prefix="", after="", first=page, threads=1)
    with pytest.raises(OutOfOrder, match="'a' came after 'b'"):
        list(ranges.entries())


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


def test_keys_are_decoded_and_nothing_else() -> None:
    page = parse_page(document("a//b", "a/../b", ".", "a+b", "a%2Bb", "a%252Bb", "%01", "%C3%BC"))
    keys = [entry.key for entry in page.entries]
    assert keys == ["a//b", "a/../b", ".", "a b", "a+b", "a%2Bb", "\x01", "ü"]
    assert page.entries[0] == Entry("a//b", 5, "2024-01-31T00:00:00.000Z", "e-2")
    assert page._replace(entries=[]) == Page([], ["x/y z/"], True, "t")
    plain = parse_page(document("a+b", "a%2Bb", "&amp;lt;", encoding=""))
    assert [entry.key for entry in plain.entries] == ["a+b", "a%2Bb", "&lt;"]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"<html/>", "expected ListBucketResult, found html"),
        (b"not XML", "expected XML, found b'not XML'"),
        (document("a").replace(b"<Size>5</Size>", b""), "found 1, 0, 1 and 1"),
    ],
)
def test_what_is_no_page_is_said(body: bytes, found: str) -> None:
    with pytest.raises(MalformedPage, match=found):
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
    assert normal_time(text) == normal
