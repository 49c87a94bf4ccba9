"""The URI of an S3 object, and the base class of all values of the contract."""

import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
    field_validator,
)

from producer.contract.errors import InvalidJob
from producer.contract.untrusted_text import shorten
from producer.contract.validation_errors import explain, hide_password

_ACCESS_POINT: Final = (
    r"arn:aws[a-z-]*:(?:s3|s3-object-lambda):[a-z0-9-]*:[0-9]{12}:accesspoint[/:][A-Za-z0-9.-]{1,63}"
    r"|arn:aws[a-z-]*:s3-outposts:[a-z0-9-]+:[0-9]{12}:outpost[/:][A-Za-z0-9-]{1,63}"
    r"[/:]accesspoint[/:][A-Za-z0-9-]{1,63}"
)
BUCKET: Final = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9._-]{{2,254}}|{_ACCESS_POINT}")
"""Names of buckets and ARNs of access points.

Capitals, underscores and up to 255 characters are in old buckets of AWS and in those of other
stores.
"""
_URI: Final = re.compile(rf"s3://(?P<bucket>{_ACCESS_POINT}|[^/]+)(?:/(?P<key>.*))?", re.DOTALL)
LONGEST_KEY_BYTES: Final = 1024
"""S3's own limit on the UTF-8 length of a key."""


class Value(BaseModel):
    """An immutable value that accepts known fields only, and neither NaN nor infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


if TYPE_CHECKING:  # so that type checkers see the parameters of the constructors

    class CallerValue(Value):
        """A value that callers of the producer construct; a wrong field raises `InvalidJob`."""

else:

    class _RaisesInvalidJob(type(BaseModel)):
        """Makes a constructor raise `InvalidJob`, not pydantic's own exception.

        An `__init__` would do that for nested values too, and pydantic could not say where.
        """

        def __call__(cls, *arguments: Any, **fields: Any) -> Any:
            try:
                return super().__call__(*arguments, **fields)
            except ValidationError as error:
                raise InvalidJob(explain(error)) from error
            except TypeError as error:
                raise InvalidJob(
                    f"{cls.__name__}: expected its fields by name, found something else ({error})"
                ) from error

    class CallerValue(Value, metaclass=_RaisesInvalidJob):
        """A value that callers of the producer construct; a wrong field raises `InvalidJob`."""


class ImageRef(CallerValue):
    """One object in S3, written `s3://bucket/key`; the key is never decoded or normalised."""

    bucket: str
    """Name of the bucket."""
    key: str
    """Key of the object, 1 to 1024 bytes in UTF-8."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `s3://bucket/key`; raise `InvalidJob`, whose text says what is wrong."""
        try:
            return cls.model_validate(_split(text))
        except ValidationError as error:
            raise InvalidJob(explain(error)) from error
        except ValueError as error:
            raise InvalidJob(f"{error}, found {shorten(hide_password(repr(text)), 120)}") from error

    @field_validator("bucket")
    @classmethod
    def _validate_bucket(cls, bucket: str) -> str:
        if not BUCKET.fullmatch(bucket):
            raise ValueError(
                "expected a bucket name, 3 to 255 characters of A-Z, a-z, 0-9, ., - and _, or the "
                "ARN of an access point"
            )
        return bucket

    @field_validator("key")
    @classmethod
    def _validate_key(cls, key: str) -> str:
        try:
            length = len(key.encode())
        except UnicodeEncodeError as error:
            raise ValueError("the key is not valid Unicode") from error
        if not 1 <= length <= LONGEST_KEY_BYTES:
            raise ValueError(f"the key has {length} bytes, S3 allows 1 to {LONGEST_KEY_BYTES}")
        return key

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def _split(value: object) -> object:
    """Split a URI into bucket and key; return a value that is not a string unchanged."""
    if not isinstance(value, str):
        return value
    bucket, key = split_uri(value)
    if not bucket or not key:
        raise ValueError("expected s3://bucket/key")
    return {"bucket": bucket, "key": key}


def split_uri(uri: str) -> tuple[str, str]:
    """Split a URI into bucket, which may be an ARN with a slash, and key; both "" if it is none."""
    match = _URI.fullmatch(uri)
    return (match["bucket"], match["key"] or "") if match else ("", "")


Ref = Annotated[
    ImageRef,
    BeforeValidator(_split),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^s3://(?:{BUCKET.pattern})/[\\s\\S]+$"}),
]
