"""Download over HTTP into a partial file that outlives a broken connection, and the process."""

import json
import shutil
from pathlib import Path
from typing import Any, Final, Protocol

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from producer.contract.validation_errors import hide_password

_TIMEOUT: Final = (5, 30)
"""Seconds to connect and of silence."""
_ATTEMPTS: Final = 5
"""Times a body that breaks off is gone on with."""
_PIECE: Final = 2**16
"""Bytes written at a time; what has come of a piece is lost when the connection breaks."""
_REDIRECTS: Final = 5
_RETRY: Final = Retry(
    total=3,
    connect=2,
    status_forcelist=(429, 500, 502, 503, 504),
    backoff_factor=0.3,
    # A server may ask for hours.
    respect_retry_after_header=False,
    raise_on_status=False,
)
_BROKEN: Final = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
)


class Progress(Protocol):
    """Told how far a download is; `total` is None while unknown."""

    def __call__(self, source: str, done: int, total: int | None) -> None:
        """`done` of `total` bytes have come from `source`."""


def no_progress(source: str, done: int, total: int | None) -> None:
    """Progress nobody watches."""


def download(url: str, target: Path, progress: Progress) -> None:
    """Write what is behind a URL to `target`, going on with what is already in it.

    A path or file:// is copied. The server is asked to go on only with the very same content, by
    the validator kept beside `target`; one that cannot go on starts again. Raises
    `requests.RequestException`, `OSError`; what has come stays in `target`.
    """
    if url.startswith(("/", "file://")):
        shutil.copyfile(url.removeprefix("file://"), target)
        return
    with _session(url) as session:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                _go_on(session, url, target, progress)
            except _BROKEN:
                if attempt == _ATTEMPTS:
                    raise
            else:
                return


def download_pieces(base: str, resource: str, target: Path, progress: Progress) -> None:
    """Put a file together from the pieces that the `resources.json` of a folder lists.

    Whole pieces already in `target` are not fetched again. Raises like `download`, and `KeyError`
    or `ValueError` for a listing of another form.
    """
    with _session(base) as session:

        def read(name: str) -> bytes:
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    response = session.get(base + name, timeout=_TIMEOUT)
                except _BROKEN:
                    if attempt == _ATTEMPTS:
                        raise
                else:
                    response.raise_for_status()
                    break
            return response.content

        listing = json.loads(read("resources.json"))[resource]
        there = target.stat().st_size if target.exists() else 0
        with target.open("ab") as file:
            done = 0
            for chunk in listing["chunks"]:
                end = int(chunk["offsets"][1])
                if end > there:
                    file.truncate(done)
                    file.write(read(str(chunk["hash"])))
                    file.flush()
                done = end
                progress(hide_password(base), done, int(listing["size"]))


def _go_on(session: requests.Session, url: str, target: Path, progress: Progress) -> None:
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
                return  # All of it had come.
            target.unlink()
            raise requests.ConnectionError(f"{url} is shorter than the {done} bytes kept of it")
        response.raise_for_status()
        resumed = response.status_code == requests.codes.partial_content
        if resumed and not span.startswith(f"bytes {done}-"):
            target.unlink()
            raise requests.ConnectionError(f"{url} was to go on at byte {done}, and sent {span!r}")
        if not resumed:
            done = 0
            _note(validator, response.headers)
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        with target.open("ab" if resumed else "wb") as file:
            for piece in response.iter_content(_PIECE):
                done += file.write(piece)
                progress(hide_password(url), done, total)


def _note(validator: Path, headers: Any) -> None:
    """Keep what `If-Range` takes: a strong ETag, else the date."""
    etag = headers.get("ETag", "")
    found = etag if etag.startswith('"') else headers.get("Last-Modified", "")
    validator.unlink(missing_ok=True)
    if found:
        validator.write_text(found)


def _session(url: str) -> requests.Session:
    """A session that can reach no scheme but https, and http if the URL itself is so.

    A redirect cannot lead from https to http, nor to a file, for want of an adapter.
    """
    session = requests.Session()
    session.max_redirects = _REDIRECTS
    session.adapters.clear()
    for scheme in ("https://", "http://") if url.startswith("http://") else ("https://",):
        session.mount(scheme, HTTPAdapter(max_retries=_RETRY))
    return session
