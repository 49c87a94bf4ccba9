"""The alerts and the dashboard, on recorded series and in the real Prometheus."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml

from deploy.programs import promtool, run
from tests.support.prometheus import DEPLOYED, scraping
from tests.support.runs import until

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "deploy" / "grafana" / "cutwork.json"
METRICS_PAGE = ROOT / "docs" / "reference" / "metrics.md"
SHOWN = {
    *re.findall(
        r"`((?:cutwork|process)_\w+)", (ROOT / "docs" / "reference" / "metrics.md").read_text()
    ),
    *("process_start_time_seconds", "process_resident_memory_bytes"),
}
"""Every metric that a worker or the exporter shows; the page is generated from the code."""


def alerts() -> dict[str, str]:
    """Return the expressions of the alerts by name."""
    (group,) = yaml.safe_load((DEPLOYED / "alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule["expr"] for rule in group["rules"]}


def panels() -> list[tuple[str, str]]:
    """Return the panel's title and the query of every line in the dashboard."""
    dashboard = json.loads(DASHBOARD.read_text())["panels"]
    return [
        (panel["title"], target["expr"])
        for panel in dashboard
        for target in panel.get("targets", ())
    ]


def named(query: str) -> set[str]:
    """Return the metrics in a query, without the suffixes of histograms."""
    names = re.findall(r"\b(?:cutwork|process)_\w+", query)
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


def test_every_alert_fires_when_it_should_and_only_then() -> None:
    run(promtool(), "test", "rules", "alerts_test.yml", cwd=DEPLOYED)
    recorded = yaml.safe_load((DEPLOYED / "alerts_test.yml").read_text())["tests"]
    cases = [case for test in recorded for case in test["alert_rule_test"]]
    firing = {case["alertname"] for case in cases if case.get("exp_alerts")}
    silent = {case["alertname"] for case in cases if not case.get("exp_alerts")}
    assert firing == silent == set(alerts())


@pytest.mark.parametrize("alert", alerts())
def test_the_recorded_series_detect_an_alert_that_does_not_fire(alert: str, tmp_path: Path) -> None:
    rules = yaml.safe_load((DEPLOYED / "alerts.yml").read_text())
    for rule in rules["groups"][0]["rules"]:
        if rule["alert"] == alert:
            rule["expr"] = "vector(1) == 2"
    (tmp_path / "alerts.yml").write_text(yaml.safe_dump(rules))
    (tmp_path / "alerts_test.yml").write_text((DEPLOYED / "alerts_test.yml").read_text())
    with pytest.raises(OSError, match=alert):
        run(promtool(), "test", "rules", "alerts_test.yml", cwd=tmp_path)


def test_the_configuration_for_compose_is_valid() -> None:
    assert "SUCCESS" in run(promtool(), "check", "config", "prometheus.yml", cwd=DEPLOYED)


def test_every_query_of_the_dashboard_is_valid(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": _filled(query)}
        for number, (_, query) in enumerate(panels())
    ]
    assert len(rules) > 25
    (tmp_path / "panels.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]})
    )
    run(promtool(), "check", "rules", tmp_path / "panels.yml")


def test_alerts_and_dashboard_use_only_exposed_metrics() -> None:
    unknown_metrics = {
        title: named(query) - SHOWN for title, query in [*alerts().items(), *panels()]
    }
    assert not {title: unknown for title, unknown in unknown_metrics.items() if unknown}


def test_every_alert_has_its_runbook() -> None:
    guide = (ROOT / "docs" / "operate" / "runbooks.md").read_text()
    sections = {title.lower().replace(" ", "-") for title in re.findall("^## (.+)$", guide, re.M)}
    (group,) = yaml.safe_load((DEPLOYED / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]:
        page, _, section = rule["annotations"]["runbook"].partition("#")
        assert (page, section in sections) == ("docs/operate/runbooks.md", True), rule["alert"]


def test_the_real_prometheus_loads_the_rules_and_raises_an_alert(tmp_path: Path) -> None:
    with (
        shown(b"cutwork_broker_up 0\n") as address,
        scraping(tmp_path, {"cutwork-exporter": [address]}) as prometheus,
    ):
        until(lambda: prometheus.healths().get(address) == "up")
        (group,) = prometheus.ask("rules")["groups"]
        assert {rule["name"] for rule in group["rules"]} == set(alerts())

        def raised() -> bool:
            active = prometheus.ask("alerts")["alerts"]
            return [alert["labels"]["alertname"] for alert in active] == ["CutworkBrokerDown"]

        until(raised)
        assert prometheus.value("cutwork_broker_up") == 0


@contextmanager
def shown(metrics: bytes) -> Iterator[str]:
    """Serve a page of constant metrics and yield its address."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(metrics)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - name of the base class
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def _filled(query: str) -> str:
    """Fill in the variables of a query as Grafana does."""
    return query.replace("$__rate_interval", "1m").replace("$queue", ".*")
