"""Submit images for background removal and wait for the outcomes.

from producer import Client

client = Client()
outcome = client.submit("s3://shop/a.jpg", image="s3://shop/a.png").wait(timeout=60)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from producer.client import (
        BrokerUnavailable,
        Client,
        ClientClosed,
        Handle,
        OutcomeTimeout,
        UnknownJob,
    )
    from producer.config.settings import SettingsError
    from producer.contract.errors import CutworkError, InvalidJob
    from producer.contract.job import Job
    from producer.contract.options import Options
    from producer.contract.outcome import Outcome, UnreadableOutcome
    from producer.contract.s3_uri import ImageRef
    from producer.store.runs import UnknownRun
    from producer.store.unreadable_run import UnreadableRun

_MODULES: Final = {
    "BrokerUnavailable": "client",
    "Client": "client",
    "ClientClosed": "client",
    "CutworkError": "contract.errors",
    "Handle": "client",
    "ImageRef": "contract.s3_uri",
    "InvalidJob": "contract.errors",
    "Job": "contract.job",
    "Options": "contract.options",
    "Outcome": "contract.outcome",
    "OutcomeTimeout": "client",
    "SettingsError": "config.settings",
    "UnknownJob": "client",
    "UnknownRun": "store.runs",
    "UnreadableOutcome": "contract.outcome",
    "UnreadableRun": "store.unreadable_run",
}
"""The module of each public name: each is imported when it is used first, as importing Celery and
redis-py takes most of a second."""

__all__ = [
    "BrokerUnavailable",
    "Client",
    "ClientClosed",
    "CutworkError",
    "Handle",
    "ImageRef",
    "InvalidJob",
    "Job",
    "Options",
    "Outcome",
    "OutcomeTimeout",
    "SettingsError",
    "UnknownJob",
    "UnknownRun",
    "UnreadableOutcome",
    "UnreadableRun",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
