"""A manifest as a file of this machine that can be read more than once."""

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

from producer.contract.s3_uri import ImageRef

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

Format = Literal["csv", "jsonl", "parquet"]

FIELDS: Final = ("source", "image", "mask")
"""What is read of a line; other fields are left alone."""
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
"""Looked at for the first byte that is not blank."""


class ManifestError(ValueError):
    """A manifest as a whole cannot be read; the text says what was found and what to do."""


class ManifestFile(NamedTuple):
    """The bytes of a manifest, and how they are to be read."""

    name: str
    """What to call it in a sentence."""
    path: Path
    format: Format
    gzipped: bool
    sha256: str
    """Of the bytes as they are, compressed ones too."""
    identity: tuple[int, ...]
    """Device, inode, size and time of the file whose SHA-256 it is."""

    @contextmanager
    def text(self) -> Iterator[IO[bytes]]:
        """Open CSV or JSON Lines: decompressed as it is read, behind a byte order mark."""
        raw_file = cast(io.RawIOBase, (gzip.open if self.gzipped else open)(self.path, "rb"))
        # A buffer over gzip's own: its lines are read in Python, these are not.
        with raw_file, io.BufferedReader(raw_file, _HEAD_BYTES) as file:
            if file.read(len(_BOM)) != _BOM:
                file.seek(0)
            yield file

    def require_unchanged(self) -> None:
        """`ManifestError` when the file is no longer the one that was opened."""
        try:
            is_unchanged = _identity(self.path) == self.identity
        except OSError as error:
            raise self.error(
                f"it went while it was read ({error}); put it back, and start again"
            ) from (error)
        if not is_unchanged:
            raise self.error("it was changed while it was read; start again")

    def fields(self, header: Sequence[str]) -> dict[str, int]:
        """Where in a header the fields of a line are; `ManifestError` when it has not enough."""
        positions = {name: header.index(name) for name in FIELDS if name in header}
        columns = ", ".join(repr(name[:40]) for name in header[:20]) or "none"
        if "source" not in positions or len(positions) == 1:
            raise self.error(
                f"expected a column source and a column image, mask, or both, found {columns}"
            )
        if any(header.count(name) > 1 for name in positions):
            raise self.error(f"expected one column of a name, found {columns}")
        return positions

    def error(self, sentence: str) -> ManifestError:
        """An error that says of which manifest it is."""
        return ManifestError(f"manifest {self.name}: {sentence}")


@contextmanager
def manifest_file(location: str, *, s3: Callable[[], "S3Client"]) -> Iterator[ManifestFile]:
    """Open a local file, an `s3://bucket/key` object, or `-` for standard input.

    What cannot be read twice is copied to a temporary file first. `ManifestError` when it is not
    there or not readable.
    """
    with tempfile.TemporaryDirectory(prefix="cutwork-") as folder:
        try:
            path = _local(location, s3=s3, copy=Path(folder) / "manifest")
            identity = _identity(path)
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            file_format, gzipped = _format(location, path)
        except (OSError, EOFError) as error:
            raise ManifestError(
                f"manifest {location}: cannot be read ({error}); expected a file, an "
                "s3://bucket/key object, or - for standard input"
            ) from error
        name = "on standard input" if location == "-" else location
        yield ManifestFile(name, path, file_format, gzipped, digest, identity)


def _local(location: str, *, s3: Callable[[], "S3Client"], copy: Path) -> Path:
    """Where the bytes of `location` lie; copied to `copy` unless they are a regular file."""
    if location.startswith("s3://"):
        _download(location, s3=s3, copy=copy)
        return copy
    if location != "-" and stat.S_ISREG(Path(location).stat().st_mode):
        return Path(location)
    # A pipe, such as a shell's <(…), gives its bytes once, like standard input.
    with copy.open("wb") as target:
        if location == "-":
            shutil.copyfileobj(sys.stdin.buffer, target)
        else:
            with Path(location).open("rb") as source:
                shutil.copyfileobj(source, target)
    return copy


def _download(location: str, *, s3: Callable[[], "S3Client"], copy: Path) -> None:
    try:
        ref = ImageRef.parse(location)
    except ValueError as error:
        raise ManifestError(f"manifest {location}: {error}") from error
    try:
        s3().download_file(ref.bucket, ref.key, str(copy))
    except (BotoCoreError, ClientError) as error:
        raise ManifestError(
            f"manifest {location}: {error}; check AWS_ENDPOINT_URL, AWS_PROFILE or the keys, that "
            "the object exists and that its bucket's policy lets these credentials read it"
        ) from error


def _format(location: str, path: Path) -> tuple[Format, bool]:
    """The format and whether it is gzipped: by the name's end, else by content."""
    name = location.lower()
    gzipped = name.endswith(".gz")
    format_by_name = _FORMATS.get(Path(name.removesuffix(".gz")).suffix)
    if format_by_name and not (gzipped and format_by_name == "parquet"):
        return format_by_name, gzipped
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if gzipped or head.startswith(_GZIP):
        gzipped = True
        with gzip.open(path) as unzipped:
            head = unzipped.read(_HEAD_BYTES)
    elif head.startswith(_PARQUET):
        return "parquet", False
    first = head.removeprefix(_BOM).lstrip()[:1]
    return ("jsonl" if first == b"{" else "csv"), gzipped


def _identity(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
