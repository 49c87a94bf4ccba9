"""What a deployment lets a message name: buckets and prefixes, matched whole segment by segment."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from producer.contract.reference import BUCKET, ImageRef
from worker.errors import Forbidden

_PLACES: Final = ("source", "image", "mask")
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,19}):[/\\]|[/\\~]|\.\.?[/\\]")
"""How a URL or the path of a file begins."""


@dataclass(frozen=True)
class Prefix:
    """`s3://bucket`, or `s3://bucket/some/folder`; `*` is every bucket."""

    bucket: str
    folder: str = ""

    @classmethod
    def parse(cls, text: str) -> "Prefix":
        """Read one prefix; `ValueError` says what is wrong with it."""
        if text == "*":
            return cls("*")
        scheme, separator, rest = text.partition("://")
        bucket, _, folder = rest.partition("/")
        if scheme != "s3" or not separator or not BUCKET.fullmatch(bucket) or "*" in folder:
            raise ValueError(f"expected s3://bucket, s3://bucket/folder or *, found {text!r}")
        return cls(bucket, folder.strip("/"))

    def covers(self, ref: ImageRef) -> bool:
        """Whether the object lies under this prefix; `photos` does not cover `photos-private/a`."""
        if self.bucket == "*":
            return True
        inside = not self.folder or ref.key.startswith(self.folder + "/")
        return self.bucket == ref.bucket and inside

    def __str__(self) -> str:
        return "*" if self.bucket == "*" else f"s3://{self.bucket}/{self.folder}"


def require(ref: ImageRef, allowed: Sequence[Prefix], *, action: str, variable: str) -> None:
    """Raise `Forbidden` unless one of the prefixes covers the object."""
    if not any(prefix.covers(ref) for prefix in allowed):
        raise Forbidden(
            f"{ref}: this worker may {action} "
            f"{'only ' + ', '.join(map(str, allowed)) if allowed else 'nothing'} ({variable})"
        )


def require_s3(message: object) -> None:
    """Raise `Forbidden` if what is no job names a place outside S3: another scheme, or a path."""
    if not isinstance(message, dict):
        return
    for name in _PLACES:
        value = message.get(name)
        if isinstance(value, str) and is_foreign(value):
            raise Forbidden(
                f"{name}: a worker reads and writes s3://bucket/key and nothing else, "
                f"found {value!r:.200}"
            )


def is_foreign(name: str) -> bool:
    """Whether a text names a place that is not in S3: a URL of another scheme, or a path."""
    found = _SCHEME.match(name)
    return found is not None and found[1] != "s3"
