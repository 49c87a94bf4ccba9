"""Enqueue images for background removal and follow what becomes of them.

from producer import Client

client = Client()
outcome = client.submit("s3://shop/a.jpg", image="s3://shop/a.png").wait(timeout=60)
"""

from producer.client import BrokerUnavailable, Client, Handle, OutcomeTimeout
from producer.job import InvalidJob, Job
from producer.options import Options
from producer.outcome import Outcome, UnreadableOutcome
from producer.reference import ImageRef

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
    "UnreadableOutcome",
]
