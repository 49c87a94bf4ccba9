"""Downloads of model files: sources in turn, resumed, verified, by many processes at once."""

import hashlib
import json
import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.site import Site, running_site
from worker.errors import (
    ModelHashMismatch,
    ModelUnavailable,
)
from worker.models.files.catalogue import CatalogueEntry, ChunksSource, HttpsSource, ModelSource
from worker.models.files.file_cache import FileCache
from worker.models.files.profile import Profile
from worker.models.files.store import ModelStore

CONTENT = bytes(range(256)) * 4096
PIECE = 2**16
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def site() -> Iterator[Site]:
    with running_site() as site:
        site.files = {"/model.onnx": CONTENT, "/wrong.onnx": CONTENT[:-1]}
        yield site


def entry(*sources: ModelSource, **facts: Any) -> dict[str, CatalogueEntry]:
    facts = {"file": "own.onnx", "sha256": SHA256, "licence": "MIT", "about": "", **facts}
    return {"own": CatalogueEntry(**facts, profile=Profile(size=(32, 32)), sources=sources)}


def store_in(folder: Path, *sources: ModelSource, **arguments: Any) -> ModelStore:
    return ModelStore(FileCache(folder), entries=entry(*sources), **arguments)


def https(url: str) -> HttpsSource:
    return HttpsSource(kind="https", url=url)


def test_sources_are_tried_in_turn(tmp_path: Path, site: Site) -> None:
    sources = [https(f"{site.url}/{name}.onnx") for name in ("gone", "wrong", "model")]
    progress_calls: list[tuple[int, int | None]] = []
    folder = tmp_path / "cache"
    store = store_in(folder, *sources, progress=lambda _, *numbers: progress_calls.append(numbers))
    file = store.resolve("own")
    assert file.path.read_bytes() == CONTENT
    assert file.sha256 == SHA256
    assert file.profile.sides == (32, 32)
    assert site.paths == ["/gone.onnx", "/wrong.onnx", "/model.onnx"]
    assert progress_calls[-1] == (len(CONTENT), len(CONTENT))
    assert sorted(path.name for path in folder.iterdir()) == ["own.onnx", "own.onnx.lock"]


def test_a_mirror_comes_first(tmp_path: Path, site: Site) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "own.onnx").write_bytes(CONTENT)
    for place in (str(mirror), f"file://{mirror}"):
        folder = tmp_path / place.replace("/", "_")
        store = store_in(folder, https(f"{site.url}/model.onnx"), mirror=place)
        assert store.resolve("own").path.read_bytes() == CONTENT
    assert site.requests == []


def chunks(site: Site) -> ChunksSource:
    middle = len(CONTENT) // 2
    chunks = [
        {"hash": "aa", "offsets": [0, middle]},
        {"hash": "bb", "offsets": [middle, 2 * middle]},
    ]
    listing = {"/m": {"size": len(CONTENT), "chunks": chunks}}
    site.files |= {"/aa": CONTENT[:middle], "/bb": CONTENT[middle:]}
    site.files["/resources.json"] = json.dumps(listing).encode()
    return ChunksSource(kind="chunks", url=f"{site.url}/", resource="/m")


def test_a_file_in_chunks(tmp_path: Path, site: Site) -> None:
    assert store_in(tmp_path, chunks(site)).resolve("own").sha256 == SHA256


def test_complete_chunks_are_not_fetched_again(tmp_path: Path, site: Site) -> None:
    source = chunks(site)
    last = site.files.pop("/bb")
    with pytest.raises(ModelUnavailable):
        store_in(tmp_path, source).resolve("own")
    site.files["/bb"] = last
    site.requests.clear()
    assert store_in(tmp_path, source).resolve("own").path.read_bytes() == CONTENT
    assert site.paths == ["/resources.json", "/bb"]


def test_an_existing_file_is_not_fetched(tmp_path: Path, site: Site) -> None:
    for _ in range(2):
        store_in(tmp_path, https(f"{site.url}/model.onnx")).resolve("own")
    assert site.paths == ["/model.onnx"]


def test_a_corrupted_file_is_fetched_again(tmp_path: Path, site: Site) -> None:
    source = https(f"{site.url}/model.onnx")
    path = store_in(tmp_path, source).resolve("own").path
    path.write_bytes(b"\0" * len(CONTENT))
    assert store_in(tmp_path, source).resolve("own").path.read_bytes() == CONTENT
    assert len(site.requests) == 2


def test_an_interrupted_download_is_resumed(tmp_path: Path, site: Site) -> None:
    site.breaks = [3 * PIECE, 4 * PIECE]
    file = store_in(tmp_path, https(f"{site.url}/model.onnx")).resolve("own")
    assert file.path.read_bytes() == CONTENT
    ranges = [(request.range, request.status) for request in site.requests]
    assert ranges == [(None, 200), (f"bytes={3 * PIECE}-", 206), (f"bytes={7 * PIECE}-", 206)]


def test_another_process_resumes_a_download(tmp_path: Path, site: Site) -> None:
    source = https(f"{site.url}/model.onnx")
    site.breaks = [PIECE] * 5
    with pytest.raises(ModelUnavailable):
        store_in(tmp_path, source).resolve("own")
    site.requests.clear()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(fetch_in_a_process, (tmp_path, site.url)) == SHA256
    assert [request.range for request in site.requests] == [f"bytes={5 * PIECE}-"]
    assert not list(tmp_path.glob(".own*"))


def test_a_changed_file_is_fetched_from_its_start(tmp_path: Path, site: Site) -> None:
    source = https(f"{site.url}/model.onnx")
    site.files["/model.onnx"] = b"x" * len(CONTENT)
    site.breaks = [PIECE] * 5
    with pytest.raises(ModelUnavailable):
        store_in(tmp_path, source).resolve("own")
    site.files["/model.onnx"] = CONTENT
    assert store_in(tmp_path, source).resolve("own").path.read_bytes() == CONTENT
    assert site.requests[-1] == ("/model.onnx", f"bytes={5 * PIECE}-", 200)


def test_a_file_joined_from_two_versions_is_fetched_again(tmp_path: Path, site: Site) -> None:
    """A server without ETags cannot tell that its file has changed."""
    source = https(f"{site.url}/model.onnx")
    site.etags = False
    site.files["/model.onnx"] = b"x" * len(CONTENT)
    site.breaks = [PIECE] * 5
    with pytest.raises(ModelUnavailable):
        store_in(tmp_path, source).resolve("own")
    site.files["/model.onnx"] = CONTENT
    site.requests.clear()
    assert store_in(tmp_path, source).resolve("own").path.read_bytes() == CONTENT
    assert [request.range for request in site.requests] == [f"bytes={5 * PIECE}-", None]


def test_a_server_without_ranges_sends_the_whole_file(tmp_path: Path, site: Site) -> None:
    site.ranges = False
    site.breaks = [3 * PIECE]
    file = store_in(tmp_path, https(f"{site.url}/model.onnx")).resolve("own")
    assert file.path.read_bytes() == CONTENT
    assert [request.status for request in site.requests] == [200, 200]


def test_a_busy_server_is_asked_again(tmp_path: Path, site: Site) -> None:
    site.refusals = [503, 429]
    assert store_in(tmp_path, https(f"{site.url}/model.onnx")).resolve("own").sha256 == SHA256
    assert [request.status for request in site.requests] == [503, 429, 200]


def test_a_connection_that_keeps_breaking_is_an_error(tmp_path: Path, site: Site) -> None:
    site.breaks = [0] * 99
    with pytest.raises(ModelUnavailable, match="could not be fetched"):
        store_in(tmp_path, https(f"{site.url}/model.onnx")).resolve("own")
    assert len(site.requests) == 5


def test_bytes_with_another_hash_are_not_stored(tmp_path: Path, site: Site) -> None:
    store = store_in(tmp_path, https(f"{site.url}/wrong.onnx"))
    with pytest.raises(ModelHashMismatch, match=f"expected SHA-256 {SHA256}, found "):
        store.resolve("own")
    assert [path.name for path in tmp_path.iterdir() if path.stat().st_size > 99] == []


def test_the_error_without_a_source_says_what_was_tried_and_what_to_do(
    tmp_path: Path, site: Site
) -> None:
    store = store_in(tmp_path, https(f"{site.url}/gone.onnx"))
    with pytest.raises(ModelUnavailable) as caught:
        store.resolve("own")
    for part in ("404", "CUTWORK_MODEL_MIRROR", str(tmp_path)):
        assert part in str(caught.value)


def fetch_in_a_process(folder: Path, url: str) -> str:
    return store_in(folder, https(f"{url}/model.onnx")).resolve("own").sha256


def test_eight_processes_fetch_once(tmp_path: Path, site: Site) -> None:
    with multiprocessing.get_context("spawn").Pool(8) as pool:
        hashes = pool.starmap(fetch_in_a_process, [(tmp_path / "cache", site.url)] * 8)
    assert hashes == [SHA256] * 8
    assert site.requests == [("/model.onnx", None, 200)]
