"""Model files: sources in turn, verified, written whole, safe for many processes."""

import hashlib
import http.server
import json
import multiprocessing
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from worker.errors import ModelHashMismatch, ModelInvalid, ModelUnavailable, UnknownModel
from worker.models.catalogue import ChunksSource, Entry, HttpsSource, ModelSource, catalogue
from worker.models.store import ModelStore

CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.SimpleHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """A web server of model files: its URL, its folder, and what it was asked for."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(CONTENT)
    (folder / "wrong.onnx").write_bytes(CONTENT[:-1])
    asked: list[str] = []
    handler = partial(type("Recorder", (Handler,), {"asked": asked}), directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", folder, asked
        server.shutdown()


def entry(*sources: ModelSource) -> dict[str, Entry]:
    return {
        "own": Entry(
            file="own.onnx",
            sha256=SHA256,
            licence="MIT",
            about="",
            size=(32, 32),
            mean=0.5,
            std=1.0,
            sources=sources,
        )
    }


def https(url: str) -> HttpsSource:
    return HttpsSource(kind="https", url=url)


def test_every_entry_has_a_hash_a_licence_and_a_source() -> None:
    for name, model in catalogue().items():
        assert len(model.sha256) == 64, name
        assert model.licence, name
        assert model.sources, name
    assert any(source.kind == "npm" for source in catalogue()["isnet-general-use"].sources)


def test_the_real_weights_have_their_hash(isnet_onnx: Path) -> None:
    digest = hashlib.sha256(isnet_onnx.read_bytes()).hexdigest()
    assert digest == catalogue()["isnet-general-use"].sha256


def test_sources_are_tried_in_turn(tmp_path: Path, site: tuple[str, Path, list[str]]) -> None:
    url, _, asked = site
    entries = entry(
        https(f"{url}/gone.onnx"), https(f"{url}/wrong.onnx"), https(f"{url}/model.onnx")
    )
    seen: list[tuple[int, int | None]] = []
    store = ModelStore(
        tmp_path / "cache", entries=entries, progress=lambda _, *numbers: seen.append(numbers)
    )
    file = store.find("own")
    assert file.path.read_bytes() == CONTENT
    assert file.sha256 == SHA256
    assert asked == ["/gone.onnx", "/wrong.onnx", "/model.onnx"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [
        "own.onnx",
        "own.onnx.lock",
    ]


def test_a_mirror_comes_first(tmp_path: Path, site: tuple[str, Path, list[str]]) -> None:
    url, _, asked = site
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "own.onnx").write_bytes(CONTENT)
    entries = entry(https(f"{url}/model.onnx"))
    for place in (str(mirror), f"file://{mirror}"):
        store = ModelStore(tmp_path / place.replace("/", "_"), entries=entries, mirror=place)
        assert store.find("own").path.read_bytes() == CONTENT
    assert asked == []


def test_a_file_in_pieces(tmp_path: Path, site: tuple[str, Path, list[str]]) -> None:
    url, folder, _ = site
    half = len(CONTENT) // 2
    (folder / "aa").write_bytes(CONTENT[:half])
    (folder / "bb").write_bytes(CONTENT[half:])
    listing = {"/m": {"size": len(CONTENT), "chunks": [{"hash": "aa"}, {"hash": "bb"}]}}
    (folder / "resources.json").write_text(json.dumps(listing))
    source = ChunksSource(kind="chunks", url=f"{url}/", resource="/m")
    assert ModelStore(tmp_path / "cache", entries=entry(source)).find("own").sha256 == SHA256


def test_a_file_that_is_there_is_not_fetched(
    tmp_path: Path, site: tuple[str, Path, list[str]]
) -> None:
    url, _, asked = site
    entries = entry(https(f"{url}/model.onnx"))
    for _ in range(2):
        ModelStore(tmp_path / "cache", entries=entries).find("own")
    assert asked == ["/model.onnx"]


def test_a_corrupted_file_is_noticed_and_fetched_again(
    tmp_path: Path, site: tuple[str, Path, list[str]]
) -> None:
    url, _, asked = site
    entries = entry(https(f"{url}/model.onnx"))
    path = ModelStore(tmp_path / "cache", entries=entries).find("own").path
    path.write_bytes(b"\0" * len(CONTENT))
    assert ModelStore(tmp_path / "cache", entries=entries).find("own").path.read_bytes() == CONTENT
    assert len(asked) == 2


def test_bytes_that_are_not_the_model_are_never_kept(
    tmp_path: Path, site: tuple[str, Path, list[str]]
) -> None:
    url, _, _ = site
    store = ModelStore(tmp_path / "cache", entries=entry(https(f"{url}/wrong.onnx")))
    with pytest.raises(ModelHashMismatch, match=f"expected SHA-256 {SHA256}, found "):
        store.find("own")
    assert not list((tmp_path / "cache").glob("*.onnx"))


def test_no_source_at_all_says_what_was_tried_and_what_to_do(
    tmp_path: Path, site: tuple[str, Path, list[str]]
) -> None:
    url, _, _ = site
    store = ModelStore(tmp_path / "cache", entries=entry(https(f"{url}/gone.onnx")))
    with pytest.raises(ModelUnavailable) as caught:
        store.find("own")
    for part in ("404", "CUTWORK_MODEL_MIRROR", str(tmp_path / "cache")):
        assert part in str(caught.value)


def fetch_in_a_process(folder: Path, url: str) -> str:
    return ModelStore(folder, entries=entry(https(f"{url}/model.onnx"))).find("own").sha256


def test_eight_processes_fetch_once(tmp_path: Path, site: tuple[str, Path, list[str]]) -> None:
    url, _, asked = site
    with multiprocessing.get_context("spawn").Pool(8) as pool:
        hashes = pool.starmap(fetch_in_a_process, [(tmp_path / "cache", url)] * 8)
    assert hashes == [SHA256] * 8
    assert asked == ["/model.onnx"]


@pytest.mark.parametrize("name", ["u3net", "", "/etc/passwd", "../x.onnx", "http://a/b.onnx"])
def test_an_unknown_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnknownModel, match="expected one of isnet-general-use, "):
        ModelStore(tmp_path).find(name)


def test_a_path_is_a_model_only_where_paths_are_allowed(tmp_path: Path) -> None:
    path = tmp_path / "own.onnx"
    path.write_bytes(CONTENT)
    assert ModelStore(tmp_path, local_paths=True).find(str(path)).sha256 == SHA256
    with pytest.raises(UnknownModel):
        ModelStore(tmp_path).find(str(path))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.pkl"
    path.write_bytes(CONTENT)
    with pytest.raises(ModelInvalid, match=r"ending in \.onnx, \.pth"):
        ModelStore(tmp_path, local_paths=True).find(str(path))


def test_a_job_s_own_hash_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "own.onnx"
    path.write_bytes(CONTENT)
    store = ModelStore(tmp_path, local_paths=True)
    assert store.find(str(path), sha256=SHA256)
    with pytest.raises(ModelHashMismatch, match=f"expected SHA-256 {'0' * 64}, found {SHA256}"):
        store.find(str(path), sha256="0" * 64)
