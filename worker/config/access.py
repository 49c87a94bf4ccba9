"""Allow lists: the prefixes that jobs may name, matched by whole segments of a key."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from producer.contract.s3_prefix import S3Prefix
from producer.contract.s3_uri import ImageRef
from worker.errors import Forbidden

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,19}):[/\\]|[/\\~]|\.\.?[/\\]")
"""The beginning of a URL or of a file path."""


@dataclass(frozen=True)
class AllowedPrefix:
    """One entry of an allow list: an S3 prefix, or every bucket."""

    prefix: S3Prefix | None
    """None stands for every bucket, written `*`."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `s3://bucket`, `s3://bucket/folder` or `*`.

        Raises `ValueError` that says what was expected and found.
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
        # Outer slashes are ignored: `s3://shop/photos//` allows all of `photos`.
        folder = folder.strip("/")
        return cls(S3Prefix(bucket, folder and folder + "/"))

    def covers(self, ref: ImageRef) -> bool:
        """Return whether the entry allows an object."""
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
    """Raise `Forbidden` if an invalid job refers to something outside S3, such as a file path."""
    fields = message if isinstance(message, dict) else {}
    for name in ("source", "image", "mask"):
        value = fields.get(name)
        if isinstance(value, str) and is_foreign(value):
            raise Forbidden(
                f"{name}: a worker reads and writes s3://bucket/key and nothing else, "
                f"found {value!r:.200}"
            )


def is_foreign(name: str) -> bool:
    """Return whether a name is a URL of another scheme than `s3`, or a file path."""
    match = _SCHEME.match(name)
    return match is not None and match[1] != "s3"
