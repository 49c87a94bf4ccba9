"""The producer's settings, read once from the `CUTWORK_*` environment variables."""

import os
import runpy
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Final, NamedTuple, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from producer.config.broker_url import validate_broker_url
from producer.config.variables import warn_of_unknown_variables
from producer.contract.errors import CutworkError
from producer.contract.validation_errors import explain
from producer.observability.log_format import LogFormat
from producer.observability.redact import environment_secrets, redact

_CELERYCONFIG: Final = "celeryconfig.py"

BrokerUrl = Annotated[str, AfterValidator(validate_broker_url)]


class SettingsError(CutworkError, ValueError):
    """An environment variable has a wrong value, or a file that it names cannot be used.

    The text names the variable, its value and what was expected; correct the variable. It is meant
    to be printed, so credentials are removed.
    """

    code = "settings_error"

    def __init__(self, sentence: str) -> None:
        super().__init__(redact(sentence, secrets=environment_secrets()))


class EnvironmentSettings(BaseSettings):
    """Settings from environment variables, whose errors name the variables."""

    model_config = SettingsConfigDict(
        env_prefix="CUTWORK_", frozen=True, extra="ignore", env_ignore_empty=True
    )

    @classmethod
    def read(cls, **values: Any) -> Self:
        """Return the settings; `values` take precedence over the environment.

        Raises `SettingsError`, which lists every wrong value.
        """
        warn_of_unknown_variables(os.environ)
        try:
            return cls(**values)
        except ValidationError as error:
            prefix = cls.model_config.get("env_prefix", "")
            text = explain(error, name=lambda field: prefix + field.upper())
            raise SettingsError(text) from None


class Signing(NamedTuple):
    """The files with which messages are signed and verified."""

    key: Path
    certificate: Path
    store: Path


class ProducerSettings(EnvironmentSettings):
    """The settings of a service that submits jobs."""

    broker_url: BrokerUrl = Field(
        default="redis://localhost:6379/0",
        description="URL of Redis or Valkey: broker and ledger. Needs a database of its own.",
    )
    result_backend: str | None = Field(
        default=None,
        description="URL of Celery's result backend, where a canvas's own app has another one than "
        "the broker; only workers use it.",
    )
    log_format: LogFormat = Field(
        default="text",
        description="Format of log lines: `text`, or `json` for one object per line.",
    )
    tenant: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9-]{1,32}$",
        description="Tenant of this service; one outside CUTWORK_TENANTS has no queues of its own.",
    )
    signing_key: Path | None = Field(
        default=None,
        description="RSA key (PEM) to sign messages with; none: messages are not signed.",
    )
    signing_certificate: Path | None = Field(
        default=None, description="Certificate (PEM) of CUTWORK_SIGNING_KEY."
    )
    signing_store: Path | None = Field(
        default=None,
        description="Folder of certificates (PEM); only messages signed with one are accepted.",
    )

    @model_validator(mode="after")
    def _validate_signing(self) -> Self:
        names = ("signing_key", "signing_certificate", "signing_store")
        unset = [f"CUTWORK_{name.upper()}" for name in names if getattr(self, name) is None]
        if 0 < len(unset) < len(names):
            raise ValueError(
                "signing: expected a key, a certificate and a store, or none of them; not set: "
                + ", ".join(unset)
            )
        return self

    @property
    def signing(self) -> Signing | None:
        """The files to sign with; None if messages are not signed."""
        if self.signing_key and self.signing_certificate and self.signing_store:
            return Signing(self.signing_key, self.signing_certificate, self.signing_store)
        return None


def celery_settings(settings: ProducerSettings) -> dict[str, Any]:
    """Return the settings of `celeryconfig.py`, with the validated broker URL of `settings`.

    Raises `SettingsError` if a variable is wrong. The file is read by its path, next to this module
    in a wheel and next to the packages in the repository: `import celeryconfig` would find a file
    of that name in the current folder first, and most services that use Celery have one.
    """
    paths = (Path(__file__).parent, Path(__file__).parents[2])
    path = next(folder / _CELERYCONFIG for folder in paths if (folder / _CELERYCONFIG).is_file())
    try:
        variables = runpy.run_path(str(path))
    except ValueError as error:
        raise SettingsError(str(error)) from error
    return {
        name: value
        for name, value in variables.items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    } | {
        "broker_url": settings.broker_url,
        "result_backend": settings.result_backend or settings.broker_url,
    }
