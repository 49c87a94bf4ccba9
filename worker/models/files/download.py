"""Download over HTTP into a partial file, which can be resumed after an interruption."""

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from producer.contract.validation_errors import hide_password
from worker.models.watchdog import restart_clock

Result = TypeVar("Result")
Progress = Callable[[str, int, int | None], None]
"""Takes a source, and how many bytes are done of how many; None while the total is unknown."""

_TIMEOUT: Final = (5, 30)
"""Seconds to connect, and between two reads."""
_ATTEMPTS: Final = 5
"""Attempts at a response whose body is interrupted."""
_CHUNK_BYTES: Final = 2**16
"""Bytes written at a time; an incomplete chunk is lost when the connection breaks."""
_REDIRECTS: Final = 5
_RETRY: Final = Retry(
    total=3,
    connect=2,
    status_forcelist=(429, 500, 502, 503, 504),
    backoff_factor=0.3,
    # A server could ask for hours.
    respect_retry_after_header=False,
    raise_on_status=False,
)
_INTERRUPTIONS: Final = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
)


def no_progress(source: str, done: int, total: int | None) -> None:
    """Ignore progress."""


def download(url: str, target: Path, progress: Progress) -> None:
    """Download a URL to `target`, resuming a partial file.

    A path or file:// URL is copied. A resumed request has the stored ETag or date as `If-Range`, so
    that a server whose content has changed sends all of it. Raises `requests.RequestException` and
    `OSError`; the bytes received so far stay in `target`.
    """
    if url.startswith(("/", "file://")):
        shutil.copyfile(url.removeprefix("file://"), target)
        return
    with _session(url) as session:
        _retry(lambda: _resume(session, url, target, progress))


def download_chunks(base: str, resource: str, target: Path, progress: Progress) -> None:
    """Join the chunks of a file that the `resources.json` of a folder lists.

    Complete chunks that are already in `target` are not fetched again. Raises what `download` does,
    and `KeyError` or `ValueError` for an unexpected listing.
    """
    with _session(base) as session:

        def read(name: str) -> bytes:
            response = _retry(lambda: session.get(base + name, timeout=_TIMEOUT))
            response.raise_for_status()
            return response.content

        listing = json.loads(read("resources.json"))[resource]
        existing = target.stat().st_size if target.exists() else 0
        with target.open("ab") as file:
            done = 0
            for chunk in listing["chunks"]:
                end = int(chunk["offsets"][1])
                if end > existing:
                    file.truncate(done)
                    file.write(read(str(chunk["hash"])))
                    file.flush()
                done = end
                restart_clock()
                progress(hide_password(base), done, int(listing["size"]))


def _retry(request: Callable[[], Result]) -> Result:
    """Return the result of a request, which is repeated when its response is interrupted."""
    for _ in range(_ATTEMPTS - 1):
        restart_clock()
        with suppress(*_INTERRUPTIONS):
            return request()
    restart_clock()
    return request()


def _resume(session: requests.Session, url: str, target: Path, progress: Progress) -> None:
    validator = target.with_name(target.name + ".etag")
    done = target.stat().st_size if target.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if done:
        headers["Range"] = f"bytes={done}-"
        if validator.exists():
            headers["If-Range"] = validator.read_text()
    with session.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        span = response.headers.get("Content-Range", "")
        if response.status_code == requests.codes.requested_range_not_satisfiable and done:
            if span == f"bytes */{done}":
                return  # The partial file is complete.
            target.unlink()
            raise requests.ConnectionError(
                f"{url}: expected at least the {done} bytes received before, found fewer"
            )
        response.raise_for_status()
        is_resumed = response.status_code == requests.codes.partial_content
        if is_resumed and not span.startswith(f"bytes {done}-"):
            target.unlink()
            raise requests.ConnectionError(
                f"{url}: expected a response from byte {done} on, found {span!r}"
            )
        if not is_resumed:
            done = 0
            # `If-Range` takes a strong ETag, otherwise the date.
            etag = response.headers.get("ETag", "")
            value = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
            validator.unlink(missing_ok=True)
            if value:
                validator.write_text(value)
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        with target.open("ab" if is_resumed else "wb") as file:
            for chunk in response.iter_content(_CHUNK_BYTES):
                done += file.write(chunk)
                restart_clock()
                progress(hide_password(url), done, total)


def _session(url: str) -> requests.Session:
    """Return a session for https only, or also http if the URL uses it.

    Without adapters for other schemes, no redirect can lead from https to http, or to a file.
    """
    session = requests.Session()
    session.max_redirects = _REDIRECTS
    session.adapters.clear()
    for scheme in ("https://", "http://") if url.startswith("http://") else ("https://",):
        session.mount(scheme, HTTPAdapter(max_retries=_RETRY))
    return session
