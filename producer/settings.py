"""The producer's settings, read from `CUTWORK_*` variables once, at the edge."""

import re
from typing import Any, Self

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from producer.explain import explain


class SettingsError(ValueError):
    """A variable has a wrong value; the text names it, the value and what was expected."""


class EnvironmentSettings(BaseSettings):
    """Settings read from the environment, with errors that speak in variables."""

    model_config = SettingsConfigDict(
        env_prefix="CUTWORK_", frozen=True, extra="ignore", env_ignore_empty=True
    )

    @classmethod
    def read(cls, **values: Any) -> Self:
        """Read the environment, `values` before it; `SettingsError` lists every wrong value."""
        try:
            return cls(**values)
        except ValidationError as error:
            prefix = cls.model_config.get("env_prefix", "")
            text = explain(error, name=lambda field: prefix + field.upper())
            raise SettingsError(without_password(text)) from None


class ProducerSettings(EnvironmentSettings):
    """What a service that enqueues needs to know."""

    broker_url: str = Field(
        default="redis://localhost:6379/0",
        pattern=r"^rediss?://",
        description="Redis or Valkey with a database of its own; broker and ledger in one.",
    )


def without_password(url: str) -> str:
    """A text with URLs as it may be shown: what stands before an `@` is left out."""
    return re.sub(r"//[^/@\s]*@", "//***@", url)
