"""Isolation from the caller's environment. Servers and weights: tests/support/fixtures.py."""

import gc
import os
from collections.abc import Iterator

import boto3
import pytest

pytest_plugins = ("tests.support.fixtures",)

# The imports of the collection make millions of objects, none of them garbage.
gc.disable()


def pytest_collection_finish() -> None:
    """Exclude the imported objects from garbage collection: a pass over them takes a second."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _own_environment() -> Iterator[None]:
    """Hide the broker and the buckets that the caller's shell is set up for."""
    inherited = ("CUTWORK_MODEL_CACHE", "CUTWORK_MODEL_MIRROR")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("CUTWORK_", "AWS_")) and name not in inherited:
                patch.delenv(name)
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


@pytest.fixture(autouse=True)
def _own_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drop the S3 credentials that a command run in this process has left in boto3."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
