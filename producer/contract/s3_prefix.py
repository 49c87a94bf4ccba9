"""A bucket and the beginning of its keys, written `s3://bucket` or `s3://bucket/folder`."""

from typing import NamedTuple, Self

from producer.contract.s3_uri import BUCKET, ImageRef, split_uri


class S3Prefix(NamedTuple):
    """A bucket and a key prefix, which is empty or ends with a slash."""

    bucket: str
    prefix: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `s3://bucket/folder`; raise `ValueError` with what was expected and found.

        The trailing slash is optional, and matching is by whole segments: `photos` does not
        contain `photos-private/a`.
        """
        bucket, folder = split_uri(text)
        if not BUCKET.fullmatch(bucket):
            raise ValueError(f"expected s3://bucket or s3://bucket/folder, found {text!r}")
        return cls(bucket, folder if not folder or folder.endswith("/") else folder + "/")

    def contains(self, other: "S3Prefix") -> bool:
        """Return whether every key under `other` is under this prefix; a prefix contains itself."""
        return self.bucket == other.bucket and other.prefix.startswith(self.prefix)

    def covers(self, ref: ImageRef) -> bool:
        """Return whether the object is under this prefix."""
        return self.bucket == ref.bucket and ref.key.startswith(self.prefix)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"
