"""A place in S3, and the base of every value of the contract."""

import re
from typing import Annotated, Final, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

_LONGEST_KEY_BYTES: Final = 1024
"""The limit S3 itself sets on the UTF-8 length of a key."""


class Value(BaseModel):
    """Immutable, of known fields only, without NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ImageRef(Value):
    """One object in S3, written `s3://bucket/key`; the key is never decoded or normalised."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `s3://bucket/key`; `ValueError` says what is wrong with anything else."""
        scheme, separator, rest = text.partition("://")
        bucket, slash, key = rest.partition("/")
        if scheme != "s3" or not separator or not slash or not bucket or not key:
            raise ValueError("expected s3://bucket/key")
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bucket):
            raise ValueError(f"{bucket!r} is not a bucket name")
        try:
            length = len(key.encode())
        except UnicodeEncodeError as error:
            raise ValueError("the key is not valid Unicode") from error
        if length > _LONGEST_KEY_BYTES:
            raise ValueError(f"the key has {length} bytes, S3 allows {_LONGEST_KEY_BYTES}")
        return cls(bucket=bucket, key=key)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def _parse_ref(value: object) -> object:
    return ImageRef.parse(value) if isinstance(value, str) else value


Ref = Annotated[ImageRef, BeforeValidator(_parse_ref), PlainSerializer(str, return_type=str)]
