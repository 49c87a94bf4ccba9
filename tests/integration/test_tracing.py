"""Traces from the producer through the queue to the object store, as a collector receives them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span

from deploy.local import LocalStack, free_ports
from producer import Client, Job
from producer.contract.job import TASK_NAME
from producer.contract.s3_uri import ImageRef
from producer.store.publish import publish
from tests.support.otlp_receiver import Receiver, receiving
from tests.support.runs import until

RUN = "20261123-091500-3fa9c1"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def start(stack: LocalStack, idle: Client, receiver: Receiver) -> Iterator[Any]:
    """Return a function that starts a worker with a sleeping model and traces to the receiver."""
    children = []

    def started(**variables: Any) -> None:
        child = stack.start_worker(
            app="benchmarks.standin",
            CUTWORK_STANDIN="sleep",
            CUTWORK_STANDIN_LOG="/dev/null",
            **{"CUTWORK_BROKER_URL": idle.broker_url, **receiver.environment, **variables},
        )
        children.append(child)
        stack.wait_for_worker(child)

    yield started
    for child in children:
        child.stop(grace=5)


def job(name: str, **facts: Any) -> Job:
    return Job(
        source=ImageRef(bucket="photos", key="rocket.jpg"),
        image=ImageRef(bucket="cutouts", key=f"traced-{name}.png"),
        **facts,
    )


def test_a_trace_goes_from_the_command_to_the_store(
    idle: Client, receiver: Receiver, start: Any
) -> None:
    start()
    done = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("cutwork")), "submit"),
            *("s3://photos/rocket.jpg", "s3://cutouts/traced.png", "--if-exists", "overwrite"),
        ],
        env=os.environ | {"CUTWORK_BROKER_URL": idle.broker_url, **receiver.environment},
        capture_output=True,
        text=True,
        check=True,
    )
    until(lambda: receiver.named("cutwork job"))
    (submit,), (job,) = receiver.named("cutwork submit"), receiver.named("cutwork job")
    assert (submit.service, job.service) == ("cutwork", "cutwork-worker")
    assert (submit.parent, job.trace, job.parent) == ("", submit.trace, submit.id)
    facts = {"cutwork.job_id": done.stdout.strip(), "cutwork.source.bucket": "photos"}
    assert submit.facts == facts
    assert job.facts == facts | {"cutwork.state": "done"}
    assert not job.error
    stages = [span for span in receiver.spans if span.parent == job.id]
    assert {span.name for span in stages} >= {"fetch", "decode", "model", "encode", "store"}
    assert len(stages) == len(receiver.spans) - 2
    for span in stages:
        assert job.start <= span.start <= span.end <= job.end
    assert stages[-1].name == "store"


def test_the_trace_of_a_service_continues_and_an_invalid_header_is_ignored(
    idle: Client, receiver: Receiver, start: Any
) -> None:
    start()
    parent = SpanContext(int(TRACE, 16), int(SPAN, 16), True, TraceFlags(TraceFlags.SAMPLED))
    with use_span(NonRecordingSpan(parent)):
        (single,) = idle.submit_many([job("1")])
        publish(idle.app, [job("2", id=f"{RUN}.1")])
    hostile = [
        ["a list"],
        {"a": 1},
        "x" * 100_000,
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
    ]
    for number, header in enumerate(hostile):
        sent = job(f"h{number}", id=f"hostile-{number}")
        idle.app.send_task(
            TASK_NAME,
            args=[sent.to_message()],
            task_id=sent.id,
            headers={"traceparent": header, "tracestate": "a=b"},
            ignore_result=True,
        )
    until(lambda: len(receiver.named("cutwork job")) == 2 + len(hostile))
    spans = {span.facts["cutwork.job_id"]: span for span in receiver.named("cutwork job")}
    assert all(span.facts["cutwork.state"] == "done" for span in spans.values())
    for name in (single.id, f"{RUN}.1"):
        assert (spans[name].trace, spans[name].parent) == (TRACE, SPAN)
    assert spans[f"{RUN}.1"].facts["cutwork.run_id"] == RUN
    hostile_spans = [spans[f"hostile-{number}"] for number in range(len(hostile))]
    assert {span.parent for span in hostile_spans} == {""}
    assert len({span.trace for span in hostile_spans} - {TRACE}) == len(hostile)


def test_a_retry_stays_in_its_trace(idle: Client, receiver: Receiver, start: Any) -> None:
    start(
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{free_ports(1)[0]}",
        CUTWORK_S3_ATTEMPTS="1",
        CUTWORK_MAX_ATTEMPTS="2",
    )
    parent = SpanContext(int(TRACE, 16), int(SPAN, 16), True, TraceFlags(TraceFlags.SAMPLED))
    with use_span(NonRecordingSpan(parent)):
        idle.submit_many([job("retried")])
    until(lambda: len(receiver.named("cutwork job")) == 2)
    first, second = receiver.named("cutwork job")
    assert (first.trace, second.trace) == (TRACE, TRACE)
    code = {"cutwork.code": "storage_unavailable"}
    assert first.facts.items() >= (code | {"cutwork.state": "retried"}).items()
    assert second.facts.items() >= (code | {"cutwork.state": "failed"}).items()
    assert (first.error, second.error) == (False, True)
