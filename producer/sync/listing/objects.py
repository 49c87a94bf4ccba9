"""Listings of S3 prefixes: in key order, read in parallel, in bounded memory."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

from producer.config.s3_client import is_aws, open_s3
from producer.config.s3_errors import S3Condition, classify
from producer.config.s3_settings import S3Settings
from producer.sync.listing.folder_order import lists_by_folders
from producer.sync.listing.folder_walk import FetchFolder, in_key_order, walk
from producer.sync.listing.key_ranges import Fetch, KeyRanges
from producer.sync.listing.page import Entry, MalformedPage, OutOfOrder, Page, PageHandler

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import ListObjectsV2RequestTypeDef

DEFAULT_THREADS: Final = 8
"""Pages requested at the same time: 80,000 keys per second if S3 takes 100 ms per page."""
_PAGE_KEYS: Final = 1000
"""The most keys in a page, a limit of S3."""
_MAX_EMPTY_PAGES: Final = 1000
"""The most empty pages in a row: a million deleted objects."""


class ListingFailed(ConnectionError):
    """A prefix could not be listed; the message names it, the cause, and what to do."""


def listing_client(
    *, for_sources: bool = False, connections: int = 3 * DEFAULT_THREADS, attempts: int = 5
) -> "S3Client":
    """Return an S3 client for this module only, configured as `open_s3` describes.

    Its listings return a `Page` instead of boto3's dictionary. Threads and listings may share it;
    `connections` is the limit for all of them. Raises `SettingsError` on a wrong configuration.
    """
    client = open_s3(
        S3Settings.read(), for_sources=for_sources, attempts=attempts, connections=connections
    )
    # With `register_first` on this name it runs before a handler of botocore that parses the whole
    # of each body to look for an error.
    client.meta.events.register_first("before-parse.*.ListObjectsV2", PageHandler())
    return client


def source_listing_client() -> "S3Client | None":
    """Return a `listing_client` of the sources' own store; None if they have none."""
    return listing_client(for_sources=True) if S3Settings.read().has_source_store else None


def list_objects(
    s3: "S3Client", *, bucket: str, prefix: str, after: str = "", threads: int = DEFAULT_THREADS
) -> Generator[Entry, None, None]:
    """Yield the objects under a prefix whose keys are above `after`, in the order of key bytes.

    `s3` is a `listing_client`. `threads` threads read ahead, about 16,000 entries at most, and end
    when the generator is closed or collected. Raises `ListingFailed`.
    """
    with _listing_errors(bucket, prefix):
        fetch = page_fetcher(s3, bucket=bucket, prefix=prefix)
        first = fetch(after)
        if not first.is_truncated and not after:
            yield from sorted(first.entries)
        elif not lists_by_folders(first, fetch, prefix=prefix, after=after):
            ranges = KeyRanges(fetch, prefix=prefix, after=after, first=first, threads=threads)
            yield from ranges.entries()
        else:
            folders = folder_fetcher(s3, bucket=bucket)
            yield from in_key_order(walk(folders, prefix=prefix, after=after))


def find_object(s3: "S3Client", *, bucket: str, key: str) -> Entry | None:
    """Return the entry of one object, or None if it does not exist. Raises `ListingFailed`.

    Sends a listing of one key instead of a HEAD request: HEAD truncates times to seconds, and
    without the right to list it reports a missing object as forbidden.
    """
    with _listing_errors(bucket, key):
        entries = fetch_page(s3, bucket=bucket, prefix=key, size=1).entries
    return entries[0] if entries and entries[0].key == key else None


def page_fetcher(s3: "S3Client", *, bucket: str, prefix: str, size: int = _PAGE_KEYS) -> Fetch:
    """Return a function that reads the page of a prefix above a key."""

    def fetch(after: str) -> Page:
        request = partial(fetch_page, s3, bucket=bucket, prefix=prefix, size=size)
        return skip_empty_pages(request(after=after), lambda token: request(token=token))

    return fetch


def folder_fetcher(s3: "S3Client", *, bucket: str, size: int = _PAGE_KEYS) -> FetchFolder:
    """Return a function that reads a page of a folder."""

    def fetch(folder: str, token: str | None) -> Page:
        request = partial(fetch_page, s3, bucket=bucket, prefix=folder, delimiter="/", size=size)
        return skip_empty_pages(request(token=token), lambda token: request(token=token))

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
    """Request one page, from a key or a token. Raises boto3's errors and `MalformedPage`."""
    request: ListObjectsV2RequestTypeDef = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": size}
    if token is not None:
        request["ContinuationToken"] = token
    elif after:
        request["StartAfter"] = after
    if delimiter:
        request["Delimiter"] = delimiter
    if is_aws(s3):
        # Other stores have no archive, and some refuse parameters that they do not know.
        request["OptionalObjectAttributes"] = ["RestoreStatus"]
    page: object = s3.list_objects_v2(**request).get("Page")
    if not isinstance(page, Page):
        raise TypeError("expected a client made by listing_client(), found another")
    return page


def skip_empty_pages(page: Page, fetch_next: Callable[[str], Page]) -> Page:
    """Return the first page that has something or is the last, beginning with `page`.

    Some stores return empty pages where objects have been deleted. Raises `MalformedPage` if a page
    says that more follow and does not say where, or if empty pages do not end.
    """
    tokens: set[str] = set()
    while page.is_truncated and not page.entries and not page.folders:
        if not page.token or page.token in tokens or len(tokens) >= _MAX_EMPTY_PAGES:
            raise MalformedPage(
                f"expected objects or the end of the listing, found {len(tokens) + 1:,} empty "
                "pages in a row, each of which says that more follow"
            )
        tokens.add(page.token)
        page = fetch_next(page.token)
    return page


@contextmanager
def _listing_errors(bucket: str, prefix: str) -> Iterator[None]:
    """Raise `ListingFailed` for the errors of a listing."""
    uri = f"s3://{bucket}/{prefix}"
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise ListingFailed(f"{uri}: {_sentence(error, bucket)}") from error
    except OutOfOrder as error:
        raise ListingFailed(
            f"{uri}: expected keys in the order of their bytes, as S3 lists them, but "
            f"{error}; use a manifest with this store"
        ) from error
    except MalformedPage as error:
        advice = "check that AWS_ENDPOINT_URL leads to an S3 store"
        raise ListingFailed(f"{uri}: {error}; {advice}") from error


def _sentence(error: ClientError | BotoCoreError, bucket: str) -> str:
    """Return what an error of S3 means for a listing, and what to do about it."""
    failure = classify(error)
    match failure.condition:
        case S3Condition.MISSING_BUCKET:
            return f"expected a bucket {bucket!r}, found none; create it or correct the name"
        case S3Condition.FORBIDDEN | S3Condition.BAD_CREDENTIALS:
            return (
                f"S3 refuses these credentials ({failure.answer}); check AWS_PROFILE or the keys, "
                "and give them s3:ListBucket on the bucket"
            )
        case S3Condition.NO_CREDENTIALS:
            keys = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            return f"found no credentials; set AWS_PROFILE or {keys}"
        case S3Condition.NO_ANSWER | S3Condition.INVALID_REQUEST:
            return f"S3 did not answer ({failure.answer}); check AWS_ENDPOINT_URL and the network"
    advice = "run the same command again to continue where it stopped"
    return f"S3 answered with an error: {error}; {advice}"
