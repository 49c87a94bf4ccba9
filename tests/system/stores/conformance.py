"""The suite that every store must pass: from one job to a whole run and its report."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from producer import Client, Options, Outcome
from tests.support.patience import PATIENCE
from tests.system.stores.servers import Endpoint

PHOTOGRAPHS: Final = ("in/a b.png", "in/deep/ü.png", "in/c.png")
"""The keys of the sources."""


@dataclass(frozen=True)
class Subject:
    """A store with a worker on it."""

    endpoint: Endpoint
    client: Client
    environment: dict[str, str]

    def submit(self, source: str = "s3://photos/in/c.png", **values: Any) -> Outcome:
        """Send a job that needs no model, and return its outcome."""
        return self.client.submit(source, options=Options(enabled=False), **values).wait(PATIENCE)

    def command(self, *arguments: str) -> list[Any]:
        """Run `cutwork`; return its JSON output, one value per line."""
        process = subprocess.run(
            [sys.executable, "-m", "producer", *arguments, "--json"],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        try:
            values = [json.loads(line) for line in process.stdout.splitlines()]
        except ValueError:
            values = []
        if not values:
            raise AssertionError(f"{' '.join(arguments)}: {process.stdout}{process.stderr}"[-500:])
        return values

    def sync(self, *arguments: str) -> dict[str, int]:
        """Run `cutwork sync` and return the counts of the run, or of the plan without one."""
        places = ("s3://photos/in", "s3://cutouts/sync", "--mask", "s3://cutouts/masks")
        report = ("--report", "s3://cutouts/reports")
        events = self.command("sync", *places, "--no-enabled", *report, *arguments)
        counts = [event["counts"] for event in events if "counts" in event]
        return dict(counts[-1])


def doctor(subject: Subject) -> None:
    values = subject.command("doctor", "s3://photos/in", "--write", "s3://cutouts")
    findings = values[0] if isinstance(values[0], list) else values
    wrong = [one for one in findings if one["what"].startswith("S3") and not one["ok"]]
    _expect("; ".join(one["text"] for one in wrong), "")


def submit(subject: Subject) -> None:
    outcome = subject.submit(image="s3://cutouts/one.png")
    _expect((outcome.state, outcome.code), ("done", None))
    body = subject.endpoint.client().get_object(Bucket="cutouts", Key="one.png")["Body"].read()
    _expect(body[:8], b"\x89PNG\r\n\x1a\n")


def skip(subject: Subject) -> None:
    _expect(subject.submit(image="s3://cutouts/one.png").state, "skipped")


def mask(subject: Subject) -> None:
    places = {"image": "s3://cutouts/m/i.png", "mask": "s3://cutouts/m/m.png"}
    states = [subject.submit(**places).state for _ in range(2)]
    _expect(states, ["done", "skipped"])


def missing(subject: Subject) -> None:
    outcome = subject.submit("s3://photos/none.png", image="s3://cutouts/none.png")
    _expect(outcome.code, "source_not_found")


def forbidden(subject: Subject) -> None:
    outcome = subject.submit(image="s3://private/a.png")
    _expect(outcome.code, "forbidden")


def sync(subject: Subject) -> None:
    counts = subject.sync()
    _expect((counts["seen"], counts["done"]), (len(PHOTOGRAPHS), len(PHOTOGRAPHS)))


def resync(subject: Subject) -> None:
    counts = subject.sync()
    _expect((counts["current"], counts["sent"]), (len(PHOTOGRAPHS), 0))


def changed_options(subject: Subject) -> None:
    same = subject.sync("--changed-options")
    _expect((same["skipped"], same["done"]), (len(PHOTOGRAPHS), 0))
    changed = subject.sync("--changed-options", "--background", "#ffffff")
    _expect((changed["skipped"], changed["done"]), (0, len(PHOTOGRAPHS)))


def check_sources(subject: Subject) -> None:
    counts = subject.sync("--check-sources")
    _expect((counts["current"], counts["sent"]), (len(PHOTOGRAPHS), 0))


def report(subject: Subject) -> None:
    page = subject.endpoint.client().list_objects_v2(Bucket="cutouts", Prefix="reports/")
    names = {item["Key"].rpartition("/")[2] for item in page.get("Contents", [])}
    _expect(names, {"report.html", "report.json", "failures.jsonl"})


CHECKS: Final[tuple[Callable[[Subject], None], ...]] = (
    *(doctor, submit, skip, mask, missing, forbidden),
    *(sync, resync, changed_options, check_sources, report),
)
"""In this order, because later ones build on earlier ones."""


def _expect(found: object, expected: object) -> None:
    if found != expected:
        raise AssertionError(f"expected {expected!r}, found {found!r}")
