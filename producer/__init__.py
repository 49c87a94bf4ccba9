"""Submit images for background removal and wait for the outcomes.

from producer import Client

client = Client()
outcome = client.submit("s3://shop/a.jpg", image="s3://shop/a.png").wait(timeout=60)
"""

from producer.client import BrokerUnavailable, Client, Handle, OutcomeTimeout
from producer.config.settings import SettingsError
from producer.contract.job import InvalidJob, Job
from producer.contract.options import Options
from producer.contract.outcome import Outcome, UnreadableOutcome
from producer.contract.s3_uri import ImageRef
from producer.store.runs import UnknownRun
from producer.store.unreadable_run import UnreadableRun

__all__ = [
    "BrokerUnavailable",
    "Client",
    "Handle",
    "ImageRef",
    "InvalidJob",
    "Job",
    "Options",
    "Outcome",
    "OutcomeTimeout",
    "SettingsError",
    "UnknownRun",
    "UnreadableOutcome",
    "UnreadableRun",
]
