"""Errors that may pass are tried again a bounded number of times, and then are final."""

import json
import signal
import time
from pathlib import Path
from typing import Any

from deploy.local import LocalStack, free_ports
from producer import Client, Job, Options
from producer.contract.job import BULK_PRIORITY
from producer.contract.s3_uri import ImageRef
from producer.store.publish import publish
from tests.support.patience import PATIENCE
from tests.support.runs import until

A = ImageRef(bucket="photos", key="a.jpg")
B = ImageRef(bucket="cutouts", key="a.png")


def test_an_unreachable_object_store_fails_the_job_in_the_end(tmp_path: Path) -> None:
    with LocalStack(tmp_path) as stack:
        stack.start_broker()
        stack.s3_url = f"http://127.0.0.1:{free_ports(1)[0]}"
        worker = stack.start_worker(CUTWORK_MAX_ATTEMPTS="2", CUTWORK_S3_ATTEMPTS="1")
        stack.wait_for_worker(worker)
        with stack.client() as client:
            options = Options(enabled=False)
            outcome = client.submit(
                "s3://photos/a.jpg", image="s3://cutouts/a.png", options=options
            ).wait(PATIENCE)
            assert (outcome.state, outcome.code) == ("failed", "storage_unavailable")
            assert outcome.attempt == 2
            assert "did not answer" in (outcome.message or "")
            # The message is acknowledged a moment after the outcome is stored.
            until(lambda: (client.status().waiting, client.status().in_flight) == (0, 0))
            assert _priority_of_a_retry(client, options) == BULK_PRIORITY
        assert worker.running


def _priority_of_a_retry(client: Client, options: Options) -> int:
    """Send a job of a run; return the priority of its second attempt, which a worker holds."""
    name = "20261122-081500-3fa9c1.1"
    publish(client.app, [Job(id=name, source=A, image=B, options=options)])
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        entries: Any = client.runs.server.hvals("unacked")
        for message, *_ in map(json.loads, entries):
            if message["headers"]["id"] == name and message["headers"]["retries"] == 1:
                return int(message["properties"]["priority"])
        time.sleep(0.05)
    raise AssertionError("no second attempt")


def test_a_job_succeeds_when_the_object_store_returns(tmp_path: Path, photographs: Path) -> None:
    with LocalStack(tmp_path) as stack:
        stack.start_broker()
        s3 = stack.start_s3()
        client = stack.s3()
        client.create_bucket(Bucket="photos")
        client.create_bucket(Bucket="cutouts")
        client.upload_file(str(photographs / "rocket.jpg"), "photos", "a.jpg")
        worker = stack.start_worker(CUTWORK_S3_ATTEMPTS="1", CUTWORK_S3_READ_TIMEOUT="3")
        stack.wait_for_worker(worker)
        s3.signal(signal.SIGSTOP)
        with stack.client() as producer:
            handle = producer.submit(
                "s3://photos/a.jpg", image="s3://cutouts/a.png", options=Options(enabled=False)
            )
            worker.wait_until(
                lambda: "attempt 1: storage_unavailable" in worker.tail(), timeout=PATIENCE
            )
            assert handle.outcome() is None
            s3.signal(signal.SIGCONT)
            outcome = handle.wait(PATIENCE)
        assert outcome.state == "done"
        assert outcome.attempt > 1


def test_a_model_that_no_source_serves_is_unavailable(tmp_path: Path) -> None:
    with LocalStack(tmp_path) as stack:
        stack.start_broker()
        stack.s3_url = f"http://127.0.0.1:{free_ports(1)[0]}"
        nowhere = f"http://127.0.0.1:{free_ports(1)[0]}"
        worker = stack.start_worker(
            CUTWORK_MODEL_CACHE=str(tmp_path / "models"),
            CUTWORK_MAX_ATTEMPTS="1",
            CUTWORK_MODEL_MIRROR=nowhere,
            HTTPS_PROXY=nowhere,
            HTTP_PROXY=nowhere,
        )
        stack.wait_for_worker(worker)
        with stack.client() as client:
            outcome = client.submit(
                "s3://photos/a.jpg",
                image="s3://cutouts/a.png",
                options=Options(model="silueta"),
            ).wait(PATIENCE)
    assert outcome.code == "model_unavailable"
    assert "CUTWORK_MODEL_MIRROR" in (outcome.message or "")
