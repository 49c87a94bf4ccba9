"""The exporter serves the state of the queues, with and without a worker or a broker."""

import json
import re
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.commands import cutwork
from benchmarks.pictures import put_pictures
from deploy.local import LocalStack, free_ports
from producer import Client, Job, Options
from producer.cli.exporter.metrics import METRICS
from producer.contract.s3_uri import ImageRef
from tests.support.patience import PATIENCE
from tests.support.runs import SPEC, feeder_of, feeding, plan_of, until

GPU = Options(device_mode="require_gpu")


class Exporter:
    """A running `cutwork exporter` and its pages."""

    def __init__(self, stack: LocalStack, log: Path, *, broker: str, **variables: str) -> None:
        (self.port,) = free_ports(1)
        arguments = ("exporter", "--port", str(self.port))
        self.child = cutwork(stack, *arguments, log=log, CUTWORK_BROKER_URL=broker, **variables)
        self.child.wait_until(lambda: b"listening on" in log.read_bytes(), timeout=PATIENCE)

    def get(self, path: str) -> tuple[int, str]:
        """Return the status and the text of a page."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}{path}", timeout=PATIENCE
            ) as page:
                return page.status, page.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def series(self) -> dict[str, float]:
        """Return every value by the metric's name, followed by its labels: queue, priority."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        return {
            " ".join(
                [sample.name, *dict(sorted(sample.labels.items(), reverse=True)).values()]
            ): sample.value
            for family in families
            for sample in family.samples
        }


@pytest.fixture
def start(stack: LocalStack, tmp_path: Path) -> Iterator[Callable[..., Exporter]]:
    with ExitStack() as ending:

        def started(**variables: Any) -> Exporter:
            exporter = Exporter(stack, tmp_path / "exporter.log", **variables)
            ending.callback(exporter.child.stop, grace=5)
            return exporter

        yield started


def job(options: Options | None = None, **facts: Any) -> Job:
    return Job(
        source=ImageRef(bucket="photos", key="rocket.jpg"),
        image=ImageRef(bucket="cutouts", key="exported.png"),
        options=options or Options(),
        **facts,
    )


def test_the_queues_without_a_worker(
    idle: Client, start: Callable[..., Exporter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUTWORK_CLASSES", "gpu")
    with Client(idle.broker_url) as client:
        client.submit_many([job(submitted_at=1), job(), job(GPU)])
        message: Any = client.runs.server.rpop("cutwork.gpu:3")
        client.runs.server.hset("unacked", "tag", f'[{message}, "", "cutwork.gpu"]')
        with feeding(feeder_of(client, plan_of("send", "send"), spec=SPEC)):
            until(lambda: client.runs.server.llen("cutwork.default:6") == 2)
        client.runs.server.hset("cutwork:rates", "cutwork.default", "30 60")
    series = start(broker=idle.broker_url, CUTWORK_CLASSES="gpu").series()
    assert series.pop("cutwork_queue_oldest_seconds cutwork.default") > 1e9
    assert series.pop("cutwork_queue_backlog_seconds cutwork.gpu") == pytest.approx(1 / 0.55)
    assert {name: value for name, value in series.items() if value} == {
        "cutwork_broker_up": 1,
        "cutwork_queue_waiting cutwork.default 3": 2,
        "cutwork_queue_waiting cutwork.default 6": 2,
        "cutwork_queue_in_flight cutwork.gpu": 1,
        "cutwork_queue_backlog_images cutwork.default": 4,
        "cutwork_queue_backlog_images cutwork.gpu": 1,
        "cutwork_queue_backlog_seconds cutwork.default": 8,
        "cutwork_worker_images_per_second cutwork.default": 0.5,
        "cutwork_worker_images_per_second cutwork.gpu": 0.55,
        "cutwork_pending": 5,
        "cutwork_runs running": 1,
    }
    # Every list of every queue has a series, also if its value is zero.
    assert len([name for name in series if name.startswith("cutwork_queue_waiting ")]) == 8
    assert series["cutwork_queue_oldest_seconds cutwork.gpu"] == 0


def test_foreign_entries_are_not_counted_and_are_logged_once(
    idle: Client, start: Callable[..., Exporter]
) -> None:
    server = idle.runs.server
    idle.submit_many([job()])
    server.lpush("cutwork.default", "no message", json.dumps({"body": "e30="}))
    server.set("cutwork.default:9", "no list")
    server.set("cutwork:rates", "no hash")
    for number, entry in enumerate(
        ("[1, 2", "7", "null", '["", "", ["list"]]', '["", "", "cutwork.x"]', '["", "", "\\u0007"]')
    ):
        server.hset("unacked", f"strange{number}", entry)
    server.hset("unacked", "ours", '["", "", "cutwork.default"]')
    exporter = start(broker=idle.broker_url)
    series = exporter.series()
    assert series["cutwork_queue_waiting cutwork.default 0"] == 2
    assert series["cutwork_queue_waiting cutwork.default 3"] == 1
    assert series["cutwork_queue_waiting cutwork.default 9"] == 0
    assert series["cutwork_queue_in_flight other"] == 6
    assert series["cutwork_queue_backlog_images cutwork.default"] == 4
    assert series["cutwork_worker_images_per_second cutwork.default"] == 0.55
    assert "cutwork_queue_backlog_images other" not in series
    # The next reading shows the change and must not log the same entries again.
    server.delete("unacked")
    server.set("unacked", "no hash")
    until(lambda: "cutwork_queue_in_flight other" not in exporter.series())
    log = exporter.child.log.read_text()
    for name in ("cutwork.default:9", "unacked"):
        assert log.count(f"{name} is not counted: expected what Celery keeps there") == 1
    assert "Traceback" not in log


def test_the_pages_and_the_shutdown(idle: Client, start: Callable[..., Exporter]) -> None:
    exporter = start(broker=idle.broker_url)
    assert exporter.get("/healthz") == (200, "ok\n")
    assert exporter.get("/readyz?x=1") == (200, "ok\n")
    assert exporter.get("/other") == (404, "expected one of /metrics, /healthz, /readyz\n")
    exporter.child.signal(signal.SIGTERM)
    assert exporter.child.wait(PATIENCE) == 0
    assert "stopped by SIGTERM" in exporter.child.log.read_text()


def test_an_unavailable_broker_leaves_no_stale_values(
    stack: LocalStack, tmp_path: Path, start: Callable[..., Exporter]
) -> None:
    with LocalStack(tmp_path) as alone:
        broker = alone.start_broker("--requirepass", "hidden-word")
        url = alone.broker_url.replace("redis://", "redis://:hidden-word@")
        exporter = start(broker=url)
        assert exporter.series()["cutwork_queue_waiting cutwork.default 3"] == 0
        broker.stop(grace=5)
        until(lambda: exporter.series() == {"cutwork_broker_up": 0})
        assert exporter.get("/healthz")[0] == 200
        assert exporter.get("/readyz") == (503, "the broker does not answer\n")
        alone.restart_broker("--requirepass", "hidden-word")
        until(lambda: exporter.series()["cutwork_broker_up"] == 1)
        assert exporter.get("/readyz")[0] == 200
    log = exporter.child.log.read_text()
    assert log.count("the broker does not answer") == 1
    assert "the broker answers again" in log
    assert "hidden-word" not in log


def test_many_scrapers_share_one_reading(
    stack: LocalStack, tmp_path: Path, start: Callable[..., Exporter]
) -> None:
    with LocalStack(tmp_path) as alone:
        alone.start_broker()
        exporter = start(broker=alone.broker_url)
        threads = [threading.Thread(target=exporter.get, args=("/metrics",)) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with alone.client() as client:
            commands: Any = client.runs.server.info("commandstats")
        # One call per reading; no other program uses this broker.
        assert 1 <= commands["cmdstat_hmget"]["calls"] < 40


def test_a_port_in_use_is_reported(
    stack: LocalStack, idle: Client, start: Callable[..., Exporter], tmp_path: Path
) -> None:
    port = start(broker=idle.broker_url).port
    second = cutwork(stack, "exporter", "--port", str(port), log=tmp_path / "second.log")
    assert second.wait(PATIENCE) == 3
    assert f"cannot listen on 127.0.0.1:{port}" in second.log.read_text()


def test_every_metric_is_exposed_with_its_description(
    idle: Client, start: Callable[..., Exporter]
) -> None:
    exposed = re.findall(
        r"^# HELP (\w+) (.*)$", start(broker=idle.broker_url).get("/metrics")[1], flags=re.MULTILINE
    )
    assert exposed == [(item.name, item.about) for item in METRICS]


def test_the_throughput_is_measured_and_outlives_the_worker(
    tmp_path: Path, start: Callable[..., Exporter]
) -> None:
    """Two threads share a model that takes 0.2 s per image: five images per second."""
    with LocalStack(tmp_path) as alone:
        alone.start_broker()
        alone.start_s3()
        for bucket in ("photos", "cutouts"):
            alone.s3().create_bucket(Bucket=bucket)
        put_pictures(alone.s3(), "photos", "", 1)
        standin = alone.start_worker(
            app="benchmarks.standin",
            concurrency=2,
            CUTWORK_STANDIN="sleep",
            CUTWORK_STANDIN_SECONDS="0.2",
            CUTWORK_STANDIN_LOG=str(tmp_path / "standin.log"),
        )
        alone.wait_for_worker(standin)
        exporter = start(broker=alone.broker_url)
        rate = "cutwork_worker_images_per_second cutwork.default"
        places = [("s3://photos/000000.jpg", f"s3://cutouts/{n}.png") for n in range(45)]
        with alone.client() as client:
            # Single jobs leave one thread idle, so they do not measure the throughput.
            for source, image in places[:3]:
                assert client.submit(source, image=image).wait(PATIENCE).ok
            assert exporter.series()[rate] == 0.55
            handles = [client.submit(source, image=image) for source, image in places[3:]]
            assert all(handle.wait(PATIENCE).ok for handle in handles)
            until(lambda: exporter.series()[rate] != 0.55)
        standin.stop(grace=10)
        assert 5 / 1.5 < exporter.series()[rate] < 5 * 1.5
