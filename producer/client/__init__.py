"""The client of producers: submit jobs, wait for their outcomes, cancel them."""

from producer.client.client import Client
from producer.client.connections import celery_app
from producer.client.errors import BrokerUnavailable, ClientClosed, OutcomeTimeout, UnknownJob
from producer.client.handle import Handle

__all__ = [
    "BrokerUnavailable",
    "Client",
    "ClientClosed",
    "Handle",
    "OutcomeTimeout",
    "UnknownJob",
    "celery_app",
]
