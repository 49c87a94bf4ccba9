"""Listings of S3 prefixes: in key order, in parallel, with memory that does not grow."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from producer.config.settings import SettingsError
from producer.sync.listing.folder_walk import FetchFolder, in_key_order, walk
from producer.sync.listing.key_ranges import Fetch, KeyRanges
from producer.sync.listing.page import Entry, MalformedPage, OutOfOrder, Page, PageHandler

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import ListObjectsV2RequestTypeDef

DEFAULT_THREADS: Final = 8
"""Pages asked for at once: 80,000 keys a second where S3 takes 100 ms for each."""
_PAGE_KEYS: Final = 1000
"""Keys in a page at most, the limit S3 itself sets."""
_FOLDER_LISTING_SERVER: Final = "SeaweedFS"
"""How stores that list folder by folder name themselves."""
_ACCESS: Final = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "403", "401"}


class ListingFailed(ConnectionError):
    """A prefix could not be listed; the text names it, what S3 said and what to do."""


def listing_client(*, connections: int = 3 * DEFAULT_THREADS, attempts: int = 5) -> "S3Client":
    """An S3 client for the functions here alone, as the environment of the AWS SDK says.

    It answers listings with a `Page` instead of what boto3 does. Share it between threads and
    listings; `connections` are for all of them together.
    """
    config = Config(
        connect_timeout=5,
        read_timeout=30,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=connections,
    )
    try:
        # A session of its own: the default one keeps the credentials it found first.
        client = boto3.Session().client("s3", config=config)
    except (BotoCoreError, ValueError) as error:
        raise SettingsError(
            f"S3: {error}; expected AWS_ENDPOINT_URL, AWS_PROFILE and AWS_REGION as the AWS SDK "
            "takes them"
        ) from error
    # By this name it comes before a handler of botocore's own, which parses all of each body to
    # look for an error.
    client.meta.events.register_first("before-parse.*.ListObjectsV2", PageHandler())
    return client


def list_objects(
    s3: "S3Client", *, bucket: str, prefix: str, after: str = "", threads: int = DEFAULT_THREADS
) -> Generator[Entry, None, None]:
    """Every object under a prefix whose key is above `after`, in the order of the keys' bytes.

    `s3` is a `listing_client`. At most some 16,000 entries are held ahead of the reader, by
    `threads` threads that end when the iterator is closed or dropped. Raises `ListingFailed`.
    """
    with _mapped(bucket, prefix):
        fetch = page_fetcher(s3, bucket=bucket, prefix=prefix)
        first = fetch(after)
        if not first.server.startswith(_FOLDER_LISTING_SERVER):
            ranges = KeyRanges(fetch, prefix=prefix, after=after, first=first, threads=threads)
            entries = ranges.entries()
        elif first.truncated or after:
            folders = folder_fetcher(s3, bucket=bucket)
            entries = in_key_order(walk(folders, prefix=prefix, after=after))
        else:
            entries = iter(sorted(first.entries))
        yield from entries


def find_object(s3: "S3Client", *, bucket: str, key: str) -> Entry | None:
    """One object as a listing has it, None when there is none. Raises `ListingFailed`.

    By a listing of one key, not by HEAD: that cuts times to seconds, and without the right to list
    it takes what is missing for what is forbidden.
    """
    with _mapped(bucket, key):
        entries = fetch_page(s3, bucket=bucket, prefix=key, size=1).entries
    return entries[0] if entries and entries[0].key == key else None


def page_fetcher(s3: "S3Client", *, bucket: str, prefix: str, size: int = _PAGE_KEYS) -> Fetch:
    """What reads the page of a prefix above a key."""

    def fetch(after: str) -> Page:
        page = fetch_page(s3, bucket=bucket, prefix=prefix, after=after, size=size)
        # Some stores answer empty pages where they have cleared away what was deleted.
        while page.truncated and page.token and not page.entries:
            page = fetch_page(s3, bucket=bucket, prefix=prefix, token=page.token, size=size)
        return page

    return fetch


def folder_fetcher(s3: "S3Client", *, bucket: str, size: int = _PAGE_KEYS) -> FetchFolder:
    """What reads a page of a folder."""

    def fetch(folder: str, token: str | None) -> Page:
        return fetch_page(s3, bucket=bucket, prefix=folder, token=token, delimiter="/", size=size)

    return fetch


def fetch_page(
    s3: "S3Client",
    *,
    bucket: str,
    prefix: str,
    after: str = "",
    token: str | None = None,
    delimiter: str = "",
    size: int = _PAGE_KEYS,
) -> Page:
    """One page, from a key or from a token; raises what boto3 raises, and `MalformedPage`."""
    request: ListObjectsV2RequestTypeDef = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": size}
    if token is not None:
        request["ContinuationToken"] = token
    elif after:
        request["StartAfter"] = after
    if delimiter:
        request["Delimiter"] = delimiter
    page: object = s3.list_objects_v2(**request).get("Page")
    if not isinstance(page, Page):
        raise TypeError("expected a client made by listing_client(), found another")
    return page


@contextmanager
def _mapped(bucket: str, prefix: str) -> Iterator[None]:
    place = f"s3://{bucket}/{prefix}"
    try:
        yield
    except ClientError as error:
        said = error.response.get("Error", {})
        code = str(said.get("Code", ""))
        if code == "NoSuchBucket":
            text = f"expected a bucket {bucket!r}, found none; create it or mend the name"
        elif code in _ACCESS:
            text = (
                f"S3 refuses these credentials ({code}); check AWS_PROFILE or the keys, and give "
                "them s3:ListBucket on the bucket"
            )
        else:
            text = (
                f"S3 answered {code or 'an error'} ({said.get('Message', error)}); "
                "the same command goes on where this one stopped"
            )
        raise ListingFailed(f"{place}: {text}") from error
    except NoCredentialsError as error:
        raise ListingFailed(
            f"{place}: found no credentials; set AWS_PROFILE or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY"
        ) from error
    except BotoCoreError as error:
        raise ListingFailed(
            f"{place}: S3 did not answer ({error}); check AWS_ENDPOINT_URL and the network"
        ) from error
    except OutOfOrder as error:
        raise ListingFailed(
            f"{place}: {error}; expected keys in the order of their bytes, as S3 lists them. "
            "Use a manifest with this store"
        ) from error
    except MalformedPage as error:
        raise ListingFailed(
            f"{place}: {error}; does AWS_ENDPOINT_URL lead to an S3 store?"
        ) from error
