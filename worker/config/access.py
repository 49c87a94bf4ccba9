"""What a deployment lets a message name: buckets and prefixes, matched whole segment by segment."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from producer.contract.s3_prefix import S3Prefix
from producer.contract.s3_uri import ImageRef
from worker.errors import Forbidden

_PLACES: Final = ("source", "image", "mask")
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,19}):[/\\]|[/\\~]|\.\.?[/\\]")
"""How a URL or the path of a file begins."""


@dataclass(frozen=True)
class AllowedPrefix:
    """One entry of an allow list: an S3 prefix, or every bucket."""

    prefix: S3Prefix | None
    """None: every bucket, written `*`."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `s3://bucket`, `s3://bucket/folder` or `*`.

        Raises `ValueError` with what was expected and found.
        """
        if text == "*":
            return cls(None)
        try:
            if "*" in text:
                raise ValueError(text)
            bucket, folder = S3Prefix.parse(text)
        except ValueError as error:
            raise ValueError(
                f"expected s3://bucket, s3://bucket/folder or *, found {text!r}"
            ) from error
        # Slashes at the ends do not count: `s3://shop/photos//` allows all of `photos`.
        folder = folder.strip("/")
        return cls(S3Prefix(bucket, folder and folder + "/"))

    def covers(self, ref: ImageRef) -> bool:
        """Whether the entry allows an object."""
        return self.prefix is None or self.prefix.covers(ref)

    def __str__(self) -> str:
        return "*" if self.prefix is None else str(self.prefix).removesuffix("/")


def require_allowed(
    ref: ImageRef, allowed: Sequence[AllowedPrefix], *, action: str, variable: str
) -> None:
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
