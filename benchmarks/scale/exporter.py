"""A running `cutwork exporter` and the values that a scaler reads."""

import urllib.request
from pathlib import Path
from typing import Self
from urllib.error import URLError

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.commands import cutwork
from benchmarks.scale.scaler import Signals
from deploy.child import Child
from deploy.local import LocalStack, free_ports


class Exporter:
    """The command as a child process, scraped over HTTP as by Prometheus."""

    def __init__(self, child: Child, port: int) -> None:
        self._child = child
        self._url = f"http://127.0.0.1:{port}/metrics"

    @classmethod
    def started(cls, stack: LocalStack, log: Path) -> Self:
        """Start it for the broker of a stack and wait until it listens."""
        (port,) = free_ports(1)
        child = cutwork(stack, "exporter", "--port", str(port), log=log)
        child.wait_until(lambda: b"listening on" in log.read_bytes(), timeout=60)
        return cls(child, port)

    def signals(self) -> Signals | None:
        """Return the values of all queues together, or None if there are none."""
        try:
            with urllib.request.urlopen(self._url, timeout=5) as page:  # noqa: S310 - our own
                text = page.read().decode()
        except (URLError, TimeoutError):
            return None
        values: dict[str, list[float]] = {}
        for family in text_string_to_metric_families(text):
            values[family.name] = [sample.value for sample in family.samples]
        if values["cutwork_broker_up"] != [1]:
            return None
        return Signals(
            waiting=int(sum(values["cutwork_queue_waiting"])),
            in_flight=int(sum(values["cutwork_queue_in_flight"])),
            backlog_seconds=sum(values["cutwork_queue_backlog_seconds"]),
            pending=int(values["cutwork_pending"][0]),
            rate=max(values["cutwork_worker_images_per_second"]),
        )

    def stop(self) -> None:
        """Stop the process."""
        self._child.stop(grace=5)
