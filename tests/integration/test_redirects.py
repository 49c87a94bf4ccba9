"""Redirects: S3 cannot send a worker to another server; model sources must stay on HTTPS."""

import http.server
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from producer.contract.s3_uri import ImageRef
from tests.support.certificates import write_pair
from tests.support.site import serving
from tests.support.tls_front import tls_front
from worker.config.settings import WorkerSettings
from worker.errors import CutworkError
from worker.models.files.download import download, no_progress
from worker.pipeline.factory import open_storage
from worker.pipeline.storage import S3Storage

PLACE = ImageRef.parse("s3://photos/a.jpg")


@dataclass
class Server:
    """The response of a server to every request, and the requests that it has received."""

    url: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    received: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


class _Handler(http.server.BaseHTTPRequestHandler):
    server_state: Server

    def do_GET(self) -> None:
        state = self.server_state
        state.received.append(f"{self.command} {self.headers['Host']} {self.path}")
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(state.status)
        for name, value in {"Content-Length": str(len(state.body)), **state.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(state.body)

    do_PUT = do_HEAD = do_DELETE = do_GET  # noqa: N815 - names of http.server

    def log_message(self, *arguments: Any) -> None:
        pass


@contextmanager
def running() -> Iterator[Server]:
    state = Server()
    with serving(type("Handler", (_Handler,), {"server_state": state})) as state.url:
        yield state


@pytest.fixture
def first_server() -> Iterator[Server]:
    """The server to which the requests are addressed."""
    with running() as server:
        yield server


@pytest.fixture
def redirect_target() -> Iterator[Server]:
    """The target of the redirects, which would serve an object."""
    with running() as server:
        server.headers = {"ETag": '"1"', "Last-Modified": "Sun, 22 Nov 2026 08:00:00 GMT"}
        server.body = b"stolen"
        yield server


@pytest.fixture
def storage(first_server: Server, monkeypatch: pytest.MonkeyPatch) -> S3Storage:
    for name, value in {
        "AWS_ENDPOINT_URL": first_server.url,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "CUTWORK_READ_FROM": "*",
        "CUTWORK_WRITE_TO": "*",
        "CUTWORK_S3_ATTEMPTS": "2",
    }.items():
        monkeypatch.setenv(name, value)
    return open_storage(WorkerSettings.read(), connections=1)


@pytest.mark.parametrize("status", [301, 307, 308])
@pytest.mark.parametrize("region", [None, "eu-west-1", "127.0.0.1:1/", "evil.example"])
def test_redirects_of_the_object_store_are_not_followed(
    storage: S3Storage,
    first_server: Server,
    redirect_target: Server,
    status: int,
    region: str | None,
) -> None:
    """The AWS SDK alone would follow the region that a response names for the bucket."""
    first_server.status = status
    first_server.headers = {"Location": f"{redirect_target.url}/photos/a.jpg"}
    if region is not None:
        first_server.headers["x-amz-bucket-region"] = region
    for attempt in (
        lambda: storage.open(PLACE),
        lambda: storage.put(PLACE, b"x", content_type="image/png", fingerprint="f", output="mask"),
        lambda: storage.head(PLACE),
    ):
        with pytest.raises(CutworkError) as caught:
            attempt()
        assert caught.value.code == "storage_refused", caught.value
    assert redirect_target.received == []
    assert [line.split()[0] for line in first_server.received] == ["GET", "PUT", "HEAD"]


def test_redirects_of_model_sources_must_stay_on_https(
    first_server: Server, redirect_target: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pair(tmp_path, "server", host="127.0.0.1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "server.pem"))
    target = tmp_path / "model"
    first_server.status = 302
    with tls_front(first_server.port, folder=tmp_path, name="server") as front:
        url = f"https://127.0.0.1:{front}/model.onnx"
        for place in (redirect_target.url, "file:///etc/passwd", "ftp://127.0.0.1/x"):
            first_server.headers = {"Location": f"{place}/model.onnx"}
            with pytest.raises(requests.exceptions.InvalidSchema):
                download(url, target, no_progress)
        assert redirect_target.received == []
        assert not target.exists()
        with tls_front(redirect_target.port, folder=tmp_path, name="server") as other:
            first_server.headers = {"Location": f"https://127.0.0.1:{other}/model.onnx"}
            download(url, target, no_progress)
        assert target.read_bytes() == b"stolen"
        first_server.headers = {"Location": url}
        with pytest.raises(requests.exceptions.TooManyRedirects):
            download(url, target, no_progress)
