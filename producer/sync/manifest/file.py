"""A manifest as a local file that can be read more than once."""

import gzip
import hashlib
import io
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Literal, NamedTuple, cast

from botocore.exceptions import BotoCoreError, ClientError

from producer.config.s3_errors import S3Condition, classify
from producer.contract.s3_uri import ImageRef

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

Format = Literal["csv", "jsonl", "parquet"]

FIELDS: Final = ("source", "image", "mask")
"""The fields that are read; others are ignored."""
_FORMATS: Final[dict[str, Format]] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
_PARQUET: Final = b"PAR1"
_GZIP: Final = b"\x1f\x8b"
_BOM: Final = b"\xef\xbb\xbf"
_HEAD_BYTES: Final = 65_536
"""The bytes in which the first non-blank byte is looked for."""


class ManifestError(ValueError):
    """A whole manifest cannot be read; the message says what was found and what to do."""


class ManifestUnavailable(ManifestError):
    """The object store with a manifest does not answer; a later attempt may succeed."""


class ManifestFile(NamedTuple):
    """The bytes of a manifest, and how to read them."""

    name: str
    """The name of the manifest in messages."""
    path: Path
    format: Format
    is_gzipped: bool
    sha256: str
    """SHA-256 of the bytes of the file, which may be compressed."""
    identity: tuple[int, ...]
    """Device, inode, size and modification time of the file when its SHA-256 was computed."""

    @contextmanager
    def text(self) -> Iterator[IO[bytes]]:
        """Open CSV or JSON Lines after its byte order mark, and decompress it while it is read."""
        raw_file = cast(io.RawIOBase, (gzip.open if self.is_gzipped else open)(self.path, "rb"))
        # Buffer gzip's output, because gzip splits lines in Python and the buffer in C.
        with raw_file, io.BufferedReader(raw_file, _HEAD_BYTES) as file:
            if file.read(len(_BOM)) != _BOM:
                file.seek(0)
            yield file

    def require_unchanged(self) -> None:
        """Raise `ManifestError` if the file is no longer the one that was opened."""
        try:
            is_unchanged = _identity(self.path) == self.identity
        except OSError as error:
            raise self.error(
                f"the file vanished while it was read ({error}); restore it and start again"
            ) from error
        if not is_unchanged:
            raise self.error("the file changed while it was read; start again")

    def fields(self, header: Sequence[str]) -> dict[str, int]:
        """Return the positions of `FIELDS` in a header; raise `ManifestError` if it has too few."""
        positions = {name: header.index(name) for name in FIELDS if name in header}
        columns = ", ".join(repr(name[:40]) for name in header[:20]) or "none"
        if "source" not in positions or len(positions) == 1:
            raise self.error(
                f"expected a column source and a column image, mask, or both, found {columns}"
            )
        if any(header.count(name) > 1 for name in positions):
            raise self.error(f"expected columns with different names, found {columns}")
        return positions

    def error(self, sentence: str) -> ManifestError:
        """Return an error that names the manifest."""
        return ManifestError(f"manifest {self.name}: {sentence}")


@contextmanager
def open_file(location: str, *, s3: Callable[[], "S3Client"]) -> Iterator[ManifestFile]:
    """Open a local file, an `s3://bucket/key` object, or `-` for standard input.

    An object, standard input or a pipe is copied to a temporary file first, because it must be read
    twice. Raises `ManifestError` if the manifest does not exist or cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="cutwork-") as folder:
        try:
            path = _local_path(location, s3=s3, copy=Path(folder) / "manifest")
            identity = _identity(path)
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            file_format, is_gzipped = _detect_format(location, path)
        except (OSError, EOFError) as error:
            raise ManifestError(
                f"manifest {location}: cannot be read ({error}); expected a file, an "
                "s3://bucket/key object, or - for standard input"
            ) from error
        name = "on standard input" if location == "-" else location
        yield ManifestFile(name, path, file_format, is_gzipped, digest, identity)


def _local_path(location: str, *, s3: Callable[[], "S3Client"], copy: Path) -> Path:
    """Return the path of a regular file; copy anything else to `copy` and return that."""
    if location.startswith("s3://"):
        try:
            ref = ImageRef.parse(location)
        except ValueError as error:
            raise ManifestError(f"manifest {location}: {error}") from error
        try:
            s3().download_file(ref.bucket, ref.key, str(copy))
        except (BotoCoreError, ClientError) as error:
            is_passing = classify(error).condition in (S3Condition.TRANSIENT, S3Condition.NO_ANSWER)
            raise (ManifestUnavailable if is_passing else ManifestError)(
                f"manifest {location}: {error}; check AWS_ENDPOINT_URL, AWS_PROFILE or the keys, "
                "that the object exists and that its bucket's policy lets these credentials read it"
            ) from error
        return copy
    if location != "-" and stat.S_ISREG(Path(location).stat().st_mode):
        return Path(location)
    # A pipe, such as the <(…) of a shell, can be read only once, like standard input.
    with copy.open("wb") as target:
        if location == "-":
            shutil.copyfileobj(sys.stdin.buffer, target)
        else:
            with Path(location).open("rb") as source:
                shutil.copyfileobj(source, target)
    return copy


def _detect_format(location: str, path: Path) -> tuple[Format, bool]:
    """Return the format and whether it is gzipped, by the name's suffix or else by the content."""
    name = location.lower()
    is_gzipped = name.endswith(".gz")
    format_by_name = _FORMATS.get(Path(name.removesuffix(".gz")).suffix)
    if format_by_name and not (is_gzipped and format_by_name == "parquet"):
        return format_by_name, is_gzipped
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if is_gzipped or head.startswith(_GZIP):
        is_gzipped = True
        with gzip.open(path) as unzipped_file:
            head = unzipped_file.read(_HEAD_BYTES)
    elif head.startswith(_PARQUET):
        return "parquet", False
    first = head.removeprefix(_BOM).lstrip()[:1]
    return ("jsonl" if first == b"{" else "csv"), is_gzipped


def _identity(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
