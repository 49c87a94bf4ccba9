"""A folder of a bucket, written `s3://bucket` or `s3://bucket/folder`."""

from typing import NamedTuple, Self

from producer.contract.reference import BUCKET


class Place(NamedTuple):
    """A bucket and the prefix of the keys in it, empty or with a slash at its end."""

    bucket: str
    prefix: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `s3://bucket/folder`; `ValueError` says what is wrong with anything else.

        A folder is meant with or without the slash: `photos` does not hold `photos-private/a`.
        """
        scheme, separator, rest = text.partition("://")
        bucket, _, folder = rest.partition("/")
        if scheme != "s3" or not separator or not BUCKET.fullmatch(bucket):
            raise ValueError(f"expected s3://bucket or s3://bucket/folder, found {text!r}")
        return cls(bucket, folder if not folder or folder.endswith("/") else folder + "/")

    def holds(self, other: "Place") -> bool:
        """Whether all of another place lies within this one; a place holds itself."""
        return self.bucket == other.bucket and other.prefix.startswith(self.prefix)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"
