"""The real Prometheus, with the deployed rules, scrapes a running worker and the exporter."""

from pathlib import Path

from benchmarks.commands import cutwork
from deploy.local import LocalStack, free_ports
from producer import Client, Job
from producer.contract.s3_uri import ImageRef
from tests.support.patience import PATIENCE
from tests.support.prometheus import scraping
from tests.support.runs import until
from tests.support.watched import Watched


def test_a_job_is_seen_in_prometheus(stack: LocalStack, idle: Client, tmp_path: Path) -> None:
    broker = {"CUTWORK_BROKER_URL": idle.broker_url}
    (port,) = free_ports(1)
    worker = Watched(stack, **broker)
    log = tmp_path / "exporter.log"
    exporter = cutwork(stack, "exporter", "--port", str(port), log=log, **broker)
    exporter_at, worker_at = f"127.0.0.1:{port}", f"127.0.0.1:{worker.port}"
    targets = {"cutwork-worker": [worker_at], "cutwork-exporter": [exporter_at]}
    try:
        worker.until("/readyz", 200)
        with scraping(tmp_path, targets) as prometheus:
            until(lambda: prometheus.healths() == dict.fromkeys((worker_at, exporter_at), "up"))
            job = Job(
                source=ImageRef(bucket="photos", key="rocket.jpg"),
                image=ImageRef(bucket="cutouts", key="scraped.png"),
            )
            (handle,) = idle.submit_many([job])
            assert handle.wait(PATIENCE).state == "done"
            until(lambda: prometheus.value('cutwork_images_total{state="done"}') == 1)
            assert prometheus.value("cutwork_broker_up") == 1
            # The worker acknowledges a moment after it stores the outcome.
            until(lambda: prometheus.value("sum(cutwork_queue_backlog_images)") == 0)
            assert prometheus.value("count(cutwork_worker_info)") == 1
            assert prometheus.ask("alerts")["alerts"] == []
    finally:
        exporter.stop(grace=5)
        worker.child.stop(grace=5)
