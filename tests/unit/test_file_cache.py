"""The file cache: bounded, evicts the least recently used files, works in a read-only folder."""

import errno
import os
from pathlib import Path

import pytest

from worker.errors import ModelInvalid, ModelUnavailable
from worker.models.files.file_cache import UNBOUNDED, FileCache, discard_on


def keep(file_cache: FileCache, name: str, size: int = 100, *, used: int = 0) -> Path:
    """Write a file of this cache that was last used at this second."""
    path = file_cache.folder / name
    with file_cache.lock(path):
        partial = file_cache.partial_path(path)
        partial.write_bytes(os.urandom(size))
        file_cache.commit(partial, path, write_digest=True)
    if used:
        os.utime(path, (used, used))
    return path


def names(folder: Path) -> list[str]:
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".lock", ".sha256")
    )


def test_the_least_recently_used_file_of_all_folders_is_evicted(tmp_path: Path) -> None:
    file_cache = FileCache(tmp_path, max_bytes=300)
    keep(file_cache, "a.onnx", used=10)
    keep(file_cache, "s3/b.onnx", used=30)
    keep(file_cache, "prepared/c.onnx", used=20)
    assert len(names(tmp_path)) == 3
    keep(file_cache, "d.onnx")
    assert names(tmp_path) == ["d.onnx", "prepared/c.onnx", "s3/b.onnx"]
    file_cache.mark_used(tmp_path / "prepared/c.onnx")
    keep(file_cache, "e.onnx")
    assert names(tmp_path) == ["d.onnx", "e.onnx", "prepared/c.onnx"]
    assert not (tmp_path / "s3/b.onnx.sha256").exists()


def test_use_does_not_change_the_modification_time(tmp_path: Path) -> None:
    file_cache = FileCache(tmp_path)
    path = keep(file_cache, "a.onnx", used=10)
    file_cache.mark_used(path)
    assert path.stat().st_mtime == 10
    assert path.stat().st_atime > 10


def test_a_new_file_stays_whatever_its_size(tmp_path: Path) -> None:
    file_cache = FileCache(tmp_path, max_bytes=50)
    keep(file_cache, "a.onnx")
    assert names(tmp_path) == ["a.onnx"]
    keep(file_cache, "b.onnx")
    assert names(tmp_path) == ["b.onnx"]


def test_partial_files_are_evicted_first_unless_they_are_being_written(tmp_path: Path) -> None:
    file_cache = FileCache(tmp_path, max_bytes=300)
    keep(file_cache, "a.onnx", used=10)
    for name in ("left.onnx", "busy.onnx"):
        with file_cache.lock(tmp_path / name):
            file_cache.partial_path(tmp_path / name, tag="t").write_bytes(b"x" * 100)
    with FileCache(tmp_path).lock(tmp_path / "busy.onnx"):
        keep(file_cache, "b.onnx")
    assert names(tmp_path) == [".busy.onnx.t.part", "a.onnx", "b.onnx"]


def test_other_files_in_the_folder_are_not_deleted(tmp_path: Path) -> None:
    (tmp_path / "mine.onnx").write_bytes(b"x" * 1000)
    file_cache = FileCache(tmp_path, max_bytes=50)
    keep(file_cache, "a.onnx")
    keep(file_cache, "b.onnx")
    assert names(tmp_path) == ["b.onnx", "mine.onnx"]


def test_a_damaged_file_is_not_intact(tmp_path: Path) -> None:
    path = keep(FileCache(tmp_path), "a.onnx")
    file_cache = FileCache(tmp_path)
    assert file_cache.is_intact(path)
    path.write_bytes(path.read_bytes()[:-1])
    assert not file_cache.is_intact(path)
    assert not file_cache.is_intact(tmp_path / "none.onnx")
    (tmp_path / "a.onnx.sha256").unlink()
    assert not file_cache.is_intact(path)


def test_the_error_for_an_unusable_folder_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    file_cache = FileCache(tmp_path / "file" / "models")
    with pytest.raises(ModelUnavailable, match="set CUTWORK_MODEL_CACHE to a folder that is"):
        file_cache.check()
    with (
        pytest.raises(ModelUnavailable, match="cannot be written"),
        file_cache.lock(file_cache.folder / "a"),
    ):
        pass


def test_the_wait_for_another_process_ends_with_the_lock_timeout(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    waiting = FileCache(tmp_path, lock_timeout=0.1)
    with (
        FileCache(tmp_path).lock(path),
        pytest.raises(ModelUnavailable, match=r"has been fetching .* for 0\.1 s; see what"),
        waiting.lock(path),
    ):
        pass
    with waiting.lock(path):
        assert (tmp_path / "a.onnx.lock").exists()


def test_room_is_made_before_a_file_is_written(tmp_path: Path) -> None:
    file_cache = FileCache(tmp_path, max_bytes=300)
    for number, name in enumerate(("a.onnx", "s3/b.onnx", "c.onnx")):
        keep(file_cache, name, used=10 + number)
    path = tmp_path / "new.onnx"
    with file_cache.lock(path):
        file_cache.make_room(path, 150, name="new")
    assert names(tmp_path) == ["c.onnx"]
    with file_cache.lock(path):
        file_cache.make_room(path, 200, name="new")
        # A part that is there already stays, for an interrupted download to continue.
        file_cache.partial_path(path).write_bytes(b"x" * 150)
        file_cache.make_room(path, 200, name="new")
    assert names(tmp_path) == [".new.onnx.new.part", "c.onnx"]


def test_a_file_that_cannot_fit_is_refused_and_nothing_is_evicted(tmp_path: Path) -> None:
    file_cache = FileCache(tmp_path, max_bytes=300)
    keep(file_cache, "a.onnx")
    path = tmp_path / "new.onnx"
    with (
        file_cache.lock(path),
        pytest.raises(ModelInvalid, match=r"s3://m/x: expected at most 300 .*_BYTES\), found 301"),
    ):
        file_cache.make_room(path, 301, name="s3://m/x")
    assert names(tmp_path) == ["a.onnx"]


def test_a_file_larger_than_the_disk_is_refused(tmp_path: Path) -> None:
    file_cache = FileCache(tmp_path, max_bytes=UNBOUNDED)
    path = tmp_path / "new.onnx"
    with (
        file_cache.lock(path),
        pytest.raises(ModelUnavailable, match="bytes of free disk space"),
    ):
        file_cache.make_room(path, 2**60, name="new")


def test_a_partial_file_is_removed_when_the_disk_is_full(tmp_path: Path) -> None:
    partial = tmp_path / ".a.part"
    for error in (OSError(errno.ENOSPC, "full"), OSError(errno.EDQUOT, "quota")):
        partial.touch()
        with pytest.raises(OSError, match=r"full|quota"), discard_on(partial):
            raise error
        assert not partial.exists()
    partial.touch()
    with pytest.raises(ConnectionError), discard_on(partial):
        raise ConnectionError("interrupted")
    assert partial.exists()
    with pytest.raises(ValueError, match="damaged"), discard_on(partial, ValueError):
        raise ValueError("damaged")
    assert not partial.exists()
