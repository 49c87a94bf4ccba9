"""The settings of the object stores, beside those that the AWS SDK reads itself."""

from typing import Self

from pydantic import Field, model_validator

from producer.config.settings import EnvironmentSettings


class S3Settings(EnvironmentSettings):
    """How sources are read: from a store of their own, and at whose cost.

    Without `CUTWORK_SOURCE_AWS_*` sources are in the store that the `AWS_*` variables name, like
    outputs and models.
    """

    source_aws_endpoint_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/\s]+",
        description="Endpoint of the store of the sources; by default that of the profile, or AWS.",
    )
    source_aws_region: str | None = Field(
        default=None, pattern=r"^[a-z0-9-]+$", description="Region of the store of the sources."
    )
    source_aws_profile: str | None = Field(
        default=None,
        min_length=1,
        description="Profile of the AWS configuration for the sources, instead of keys.",
    )
    source_aws_access_key_id: str | None = Field(
        default=None, min_length=1, description="Access key for the store of the sources."
    )
    source_aws_secret_access_key: str | None = Field(
        default=None, min_length=1, repr=False, description="Secret of that access key."
    )
    source_aws_session_token: str | None = Field(
        default=None, min_length=1, repr=False, description="Session token of temporary keys."
    )
    requester_pays: bool = Field(
        default=False,
        description="Whether to pay for requests to buckets whose owner does not (requester pays).",
    )

    @model_validator(mode="after")
    def _validate_sources(self) -> Self:
        key, secret = self.source_aws_access_key_id, self.source_aws_secret_access_key
        if (key is None) != (secret is None) or (self.source_aws_session_token and not key):
            raise ValueError(
                "expected CUTWORK_SOURCE_AWS_ACCESS_KEY_ID and CUTWORK_SOURCE_AWS_SECRET_ACCESS_KEY"
                " together, found one without the other"
            )
        if key and self.source_aws_profile:
            raise ValueError(
                "expected CUTWORK_SOURCE_AWS_PROFILE or CUTWORK_SOURCE_AWS_ACCESS_KEY_ID, found "
                "both; unset one"
            )
        return self

    @property
    def has_source_store(self) -> bool:
        """Whether sources are in a store of their own."""
        names = [name for name in S3Settings.model_fields if name.startswith("source_aws_")]
        return any(getattr(self, name) is not None for name in names)
