"""A real Prometheus server with the rules of deploy/, which scrapes given targets."""

import json
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from deploy.child import Child
from deploy.local import free_ports
from deploy.programs import prometheus
from tests.support.patience import PATIENCE

DEPLOYED = Path(__file__).parents[2] / "deploy" / "prometheus"


class Prometheus:
    """Queries a running server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, **query: str) -> Any:
        """Return the data of the API at `/api/v1/` and `path`."""
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urlencode(query)}") as answer:  # noqa: S310 - our own
            return json.load(answer)["data"]

    def healths(self) -> dict[str, str]:
        """Return the health of every target by address: `up`, `down` or `unknown`."""
        targets = self.ask("targets")["activeTargets"]
        return {target["labels"]["instance"]: target["health"] for target in targets}

    def value(self, query: str) -> float | None:
        """Return the value of a query, or None if it has no result."""
        results = self.ask("query", query=query)["result"]
        return float(results[0]["value"][1]) if results else None


@contextmanager
def scraping(folder: Path, targets: Mapping[str, Sequence[str]]) -> Iterator[Prometheus]:
    """Run the server in `folder` with the deployed rules; `targets` are `host:port` by job."""
    config = yaml.safe_load((DEPLOYED / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(DEPLOYED / "alerts.yml")]
    for job in config["scrape_configs"]:
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": list(targets.get(job["job_name"], ()))}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    (port,) = free_ports(1)
    command = [
        *(str(prometheus()), f"--config.file={folder / 'prometheus.yml'}"),
        *(f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"),
    ]
    server = Child("prometheus", command, log=folder / "prometheus.log")
    try:
        client = Prometheus(f"http://127.0.0.1:{port}")
        server.wait_until(lambda: _ready(client.url), timeout=PATIENCE)
        yield client
    finally:
        server.stop(grace=5)


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready") as answer:  # noqa: S310 - our own
            return bool(answer.status == 200)
    except OSError:
        return False
