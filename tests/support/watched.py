"""A worker that is monitored over HTTP, as by Prometheus and by liveness probes."""

import json
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPResponse
from typing import Any, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from deploy.child import Child
from deploy.local import LocalStack, free_ports
from tests.support.patience import PATIENCE


class Answer(NamedTuple):
    """An HTTP response; the status is 0 if nothing listens."""

    status: int
    text: str

    @property
    def checks(self) -> dict[str, Any]:
        """The checks by name."""
        checks_by_name: dict[str, Any] = json.loads(self.text)["checks"]
        return checks_by_name


class Watched:
    """A worker with a metrics port; by default with a stand-in for the model."""

    def __init__(
        self, stack: LocalStack, *, app: str = "benchmarks.standin", **variables: Any
    ) -> None:
        (self.port,) = free_ports(1)
        self.child: Child = stack.start_worker(
            app=app,
            CUTWORK_METRICS_PORT=str(self.port),
            CUTWORK_STANDIN="sleep",
            CUTWORK_STANDIN_LOG="/dev/null",
            **variables,
        )

    def get(self, path: str) -> Answer:
        """Return the response, also one with an error status; status 0 if the worker ends in it."""
        try:
            with self._open(path) as page:
                return Answer(page.status or 0, page.read().decode())
        except (OSError, HTTPException):
            return Answer(0, "")

    def _open(self, path: str) -> HTTPResponse | urllib.error.HTTPError:
        try:
            page: HTTPResponse = urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}{path}", timeout=PATIENCE
            )
        except urllib.error.HTTPError as error:
            return error
        return page

    def until(self, path: str, status: int) -> Answer:
        """Wait for a response with this status and return it."""
        answers: list[Answer] = []

        def has_status() -> bool:
            answers.append(self.get(path))
            return answers[-1].status == status

        self.child.wait_until(has_status, timeout=PATIENCE)
        return answers[-1]

    def samples(self) -> dict[str, dict[tuple[str, ...], float]]:
        """Return all samples by name and by label values in the order of the label names."""
        samples_by_name: dict[str, dict[tuple[str, ...], float]] = {}
        for family in text_string_to_metric_families(self.get("/metrics").text):
            for sample in family.samples:
                samples_by_name.setdefault(sample.name, {})[
                    tuple(value for _, value in sorted(sample.labels.items()))
                ] = sample.value
        return samples_by_name
