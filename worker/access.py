"""What a deployment lets a message name: buckets and prefixes, matched whole segment by segment."""

from collections.abc import Sequence
from dataclasses import dataclass

from producer.reference import BUCKET, ImageRef
from worker.errors import Forbidden


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
