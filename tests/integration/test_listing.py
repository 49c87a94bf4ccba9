"""Listings in key order of a real store, which lists folder by folder, and their errors."""

from collections.abc import Iterator
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


def test_a_single_object_has_the_entry_of_a_listing(s3: "S3Client") -> None:
    listing = list(list_objects(s3, bucket=BUCKET, prefix="odd/a"))
    assert find_object(s3, bucket=BUCKET, key="odd/a") == listing[0]
    assert find_object(s3, bucket=BUCKET, key="odd/a ") is None


def test_errors_name_cause_and_remedy(
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


def test_a_server_that_does_not_answer(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_ports(1)[0]}")
    with pytest.raises(ListingFailed, match=r"did not answer.*AWS_ENDPOINT_URL"):
        list(list_objects(listing_client(attempts=1), bucket=BUCKET, prefix=""))
