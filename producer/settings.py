"""The producer's settings, read from `CUTWORK_*` variables once, at the edge."""

import re
import runpy
from pathlib import Path
from types import ModuleType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, ValidationError, field_validator
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
            raise SettingsError(text) from None


class ProducerSettings(EnvironmentSettings):
    """What a service that enqueues needs to know."""

    broker_url: str = Field(
        default="redis://localhost:6379/0",
        pattern=r"^rediss?://",
        description="Redis or Valkey with a database of its own; broker and ledger in one.",
    )

    @field_validator("broker_url")
    @classmethod
    def _usable(cls, url: str) -> str:
        # Only what is known to be wrong: neither parser's own error names the variable.
        try:
            parts = urlsplit(url)
            sound = bool(parts.hostname) and (parts.port or 6379) > 0
        except ValueError:
            sound = False
        if not sound or not re.fullmatch(r"(/\d*)?", parts.path):
            raise ValueError("expected redis://[user:password@]host[:port][/database number]")
        if not all(name.startswith("ssl_") for name in parse_qs(parts.query)):
            raise ValueError("expected no other query than ssl_…; the password goes before the @")
        return url


def celery_settings() -> dict[str, Any]:
    """The settings of `celeryconfig.py` beside the packages; `SettingsError` on a wrong variable.

    Read by path: `import celeryconfig` would find a file of that name in the current folder first,
    and most services that use Celery have one.
    """
    try:
        found = runpy.run_path(str(Path(__file__).parents[1] / "celeryconfig.py"))
    except ValueError as error:
        raise SettingsError(str(error)) from error
    return {
        name: value
        for name, value in found.items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
