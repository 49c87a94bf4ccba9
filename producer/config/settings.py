"""The producer's settings, read from `CUTWORK_*` variables once, at the edge."""

import runpy
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from producer.config.broker_url import validate_broker_url
from producer.contract.validation_errors import explain
from producer.observability.log_format import LogFormat
from producer.observability.redact import redact


class SettingsError(ValueError):
    """A variable has a wrong value; the text names it, the value and what was expected.

    Whoever catches it prints it, so credentials in it are taken out here.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(redact(sentence))


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


class Signing(NamedTuple):
    """The files that messages are signed and verified with."""

    key: Path
    certificate: Path
    store: Path


class ProducerSettings(EnvironmentSettings):
    """What a service that enqueues needs to know."""

    broker_url: str = Field(
        default="redis://localhost:6379/0",
        pattern=r"^rediss?://",
        description="Redis or Valkey with a database of its own; broker and ledger in one.",
    )
    log_format: LogFormat = Field(
        default="text", description="What a line of the log is: `text`, or `json`, an object."
    )
    tenant: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9-]{1,32}$",
        description="Whose queues this service's jobs wait in, of those in CUTWORK_TENANTS.",
    )
    signing_key: Path | None = Field(
        default=None, description="RSA key (PEM) that messages are signed with; none: unsigned."
    )
    signing_certificate: Path | None = Field(
        default=None, description="Certificate (PEM) of that key."
    )
    signing_store: Path | None = Field(
        default=None,
        description="Folder of the certificates (PEM) whose messages are taken; no others are.",
    )

    @field_validator("broker_url")
    @classmethod
    def _usable(cls, url: str) -> str:
        return validate_broker_url(url)

    @model_validator(mode="after")
    def _all_to_sign_with(self) -> Self:
        files = {
            name: getattr(self, name)
            for name in ("signing_key", "signing_certificate", "signing_store")
        }
        absent = [f"CUTWORK_{name.upper()}" for name, path in files.items() if path is None]
        if 0 < len(absent) < len(files):
            raise ValueError(
                "signing: expected a key, a certificate and a store, or none of them; not set: "
                + ", ".join(absent)
            )
        return self

    @property
    def signing(self) -> Signing | None:
        """What to sign with, None where messages are not signed."""
        if self.signing_key and self.signing_certificate and self.signing_store:
            return Signing(self.signing_key, self.signing_certificate, self.signing_store)
        return None


def celery_settings(settings: ProducerSettings) -> dict[str, Any]:
    """The settings of `celeryconfig.py` beside the packages; `SettingsError` on a wrong variable.

    The broker's URL is that of `settings`, which was checked.

    Read by path: `import celeryconfig` would find a file of that name in the current folder first,
    and most services that use Celery have one.
    """
    try:
        found = runpy.run_path(str(Path(__file__).parents[2] / "celeryconfig.py"))
    except ValueError as error:
        raise SettingsError(str(error)) from error
    return {
        name: value
        for name, value in found.items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    } | {"broker_url": settings.broker_url, "result_backend": settings.broker_url}
