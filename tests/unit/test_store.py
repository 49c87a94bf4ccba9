"""Model files by name, path and S3 URI: licences, profiles and hashes."""

import hashlib
import resource
from pathlib import Path
from typing import Any

import pytest

from producer.contract.s3_uri import ImageRef
from worker.errors import (
    Forbidden,
    LicenceNotAccepted,
    ModelHashMismatch,
    ModelInvalid,
    ModelUnavailable,
    UnknownModel,
)
from worker.models.files.catalogue import CatalogueEntry, HttpsSource, ModelSource
from worker.models.files.file_cache import FileCache
from worker.models.files.profile import Profile
from worker.models.files.store import ModelObject, ModelStore, RemoteModels

CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def entry(*sources: ModelSource, **facts: Any) -> dict[str, CatalogueEntry]:
    facts = {"file": "own.onnx", "sha256": SHA256, "licence": "MIT", "about": "", **facts}
    return {"own": CatalogueEntry(**facts, profile=Profile(size=(32, 32)), sources=sources)}


def https(url: str) -> HttpsSource:
    return HttpsSource(kind="https", url=url)


def test_a_restricted_licence_must_be_accepted(tmp_path: Path) -> None:
    (tmp_path / "own.onnx").write_bytes(CONTENT)
    entries = entry(
        https("https://nowhere.invalid/own.onnx"), licence="CC-BY-NC-4.0", restricted=True
    )
    store = ModelStore(FileCache(tmp_path), entries=entries, accepted=["MIT", "CC-BY-4.0"])
    with pytest.raises(LicenceNotAccepted, match=r"set CUTWORK_ACCEPT_LICENSES=CC-BY-NC-4\.0"):
        store.resolve("own")
    store = ModelStore(FileCache(tmp_path), entries=entries, accepted=["cc-by-nc-4.0"])
    assert store.resolve("own").sha256 == SHA256


class Objects:
    """An object store of two dictionaries."""

    def __init__(self, **objects: bytes) -> None:
        self.objects = {name.replace("_", "."): data for name, data in objects.items()}
        self.downloads = 0

    def remote(self) -> RemoteModels:
        return RemoteModels(find=self._find, download=self._download, read=self._read)

    def _find(self, ref: ImageRef) -> ModelObject | None:
        data = self.objects.get(ref.key)
        return None if data is None else ModelObject(hashlib.sha256(data).hexdigest(), len(data))

    def _download(self, ref: ImageRef, etag: str, path: Path) -> None:
        assert (etag, len(self.objects[ref.key])) == self._find(ref)
        self.downloads += 1
        path.write_bytes(self.objects[ref.key])

    def _read(self, ref: ImageRef, longest: int) -> bytes | None:
        data = self.objects.get(ref.key)
        return None if data is None else data[:longest]


def test_a_custom_model_has_its_profile_next_to_it(tmp_path: Path) -> None:
    objects = Objects(x_onnx=CONTENT, x_json=b'{"size": 320, "output": "map"}', y_onnx=CONTENT)
    store = ModelStore(FileCache(tmp_path), remote=objects.remote())
    file = store.resolve("s3://models/x.onnx")
    assert file.path.read_bytes() == CONTENT
    assert (file.profile.sides, file.profile.output) == ((320, 320), "map")
    assert store.resolve("s3://models/y.onnx").profile == Profile()
    objects.objects["x.json"] = b'{"size": 512}'
    assert store.resolve("s3://models/x.onnx").profile.sides == (512, 512)
    assert objects.downloads == 2
    objects.objects["x.json"] = b" " * 70_000
    with pytest.raises(ModelInvalid, match=r"s3://models/x\.json: expected at most 65,536 bytes"):
        store.resolve("s3://models/x.onnx")


def test_a_corrupted_copy_from_the_object_store_is_fetched_again(tmp_path: Path) -> None:
    objects = Objects(x_onnx=CONTENT)
    path = (
        ModelStore(FileCache(tmp_path), remote=objects.remote()).resolve("s3://models/x.onnx").path
    )
    path.write_bytes(b"\0" * len(CONTENT))
    store = ModelStore(FileCache(tmp_path), remote=objects.remote())
    assert store.resolve("s3://models/x.onnx").path.read_bytes() == CONTENT
    assert objects.downloads == 2


def test_a_model_larger_than_the_cache_is_refused_before_it_is_fetched(tmp_path: Path) -> None:
    objects = Objects(x_onnx=CONTENT, y_onnx=CONTENT[:-1])
    file_cache = FileCache(tmp_path, max_bytes=len(CONTENT) - 1)
    store = ModelStore(file_cache, remote=objects.remote())
    with pytest.raises(
        ModelInvalid, match=r"x\.onnx: expected at most 1,048,575 bytes .*1,048,576"
    ):
        store.resolve("s3://models/x.onnx")
    assert objects.downloads == 0
    assert store.resolve("s3://models/y.onnx").path.exists()
    own = entry(https("https://nowhere.invalid/own.onnx"), bytes=len(CONTENT))
    with pytest.raises(ModelInvalid, match=r"own\.onnx: expected at most 1,048,575 bytes"):
        ModelStore(file_cache, entries=own).resolve("own")


def test_a_download_that_fills_the_disk_leaves_no_part(tmp_path: Path) -> None:
    objects = Objects(x_onnx=CONTENT)
    (tmp_path / "copy").write_bytes(CONTENT)
    entries = entry(https(f"file://{tmp_path}/copy"))
    folder = tmp_path / "cache"
    store = ModelStore(FileCache(folder), entries=entries, remote=objects.remote())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(CONTENT) // 2, hard))
    try:
        for name in ("s3://models/x.onnx", "own"):
            with pytest.raises(ModelUnavailable):
                store.resolve(name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.suffix for path in folder.rglob("*.*")} == {".lock"}
    assert store.resolve("own").path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../x.onnx", "folder/x.onnx", "http://a/b.onnx", "file:///x.onnx"]
)
def test_a_url_other_than_s3_is_forbidden(tmp_path: Path, name: str) -> None:
    with pytest.raises(Forbidden, match="within CUTWORK_MODELS_FROM; found"):
        ModelStore(FileCache(tmp_path)).resolve(name)


@pytest.mark.parametrize("name", ["u3net", "", "isnet:general", "s3:models"])
def test_an_unknown_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnknownModel, match="expected one of isnet-general-use, "):
        ModelStore(FileCache(tmp_path)).resolve(name)


def test_a_path_is_a_model_only_where_paths_are_allowed(tmp_path: Path) -> None:
    path = tmp_path / "own.onnx"
    path.write_bytes(CONTENT)
    assert ModelStore(FileCache(tmp_path), local_paths=True).resolve(str(path)).sha256 == SHA256
    with pytest.raises(Forbidden):
        ModelStore(FileCache(tmp_path)).resolve(str(path))


def test_a_file_with_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.pkl"
    path.write_bytes(CONTENT)
    with pytest.raises(ModelInvalid, match=r"ending in \.onnx, \.pth"):
        ModelStore(FileCache(tmp_path), local_paths=True).resolve(str(path))


def test_the_hash_in_a_job_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "own.onnx"
    path.write_bytes(CONTENT)
    store = ModelStore(FileCache(tmp_path), local_paths=True)
    assert store.resolve(str(path), sha256=SHA256)
    with pytest.raises(ModelHashMismatch, match=f"expected SHA-256 {'0' * 64}, found {SHA256}"):
        store.resolve(str(path), sha256="0" * 64)
