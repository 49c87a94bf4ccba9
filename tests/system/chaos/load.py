"""The load of a round: single jobs, or a run of `cutwork sync`."""

import itertools
import json
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from benchmarks.commands import cutwork
from deploy.child import Child
from producer import Client, Handle, Job, Outcome, OutcomeTimeout
from producer.contract.s3_uri import ImageRef
from tests.system.chaos.cluster import GUARD_SECONDS, PICTURES, VISIBILITY_TIMEOUT, Cluster

_numbers: Final = itertools.count(1)


class Item(NamedTuple):
    """An image: the keys of its source in `photos` and of its outputs in `cutouts`."""

    source: str
    image: str
    mask: str


class Load(Protocol):
    """Images to cut out."""

    @property
    def items(self) -> list[Item]:
        """All images."""
        ...

    def send(self) -> None:
        """Send the images that have no outputs yet; may be called again."""
        ...

    def wait(self, seconds: float) -> Mapping[str, str]:
        """Return the outcomes by output key: `ok`, or the error code.

        Return as soon as all images have an outcome; leave out those without one after `seconds`.
        """
        ...


def items_under(prefix: str, count: int) -> list[Item]:
    """Return `count` items whose outputs are under `prefix`."""
    return [
        Item(
            f"in/{number % PICTURES:06d}.jpg",
            f"{prefix}/image/{number:06d}.png",
            f"{prefix}/mask/{number:06d}.png",
        )
        for number in range(count)
    ]


@dataclass
class Singles:
    """Single jobs that a client submits, as a service does."""

    client: Client
    items: list[Item]
    options: Mapping[str, object] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)
    handles: list[Handle] = field(default_factory=list)

    @classmethod
    def of(cls, cluster: Cluster, prefix: str, count: int, **options: object) -> "Singles":
        """Return a load of `count` jobs that write under `prefix`."""
        load = cls(cluster.client, items_under(prefix, count), options)
        load.jobs = [
            Job.model_validate(
                {
                    "source": ImageRef(bucket="photos", key=item.source),
                    "image": ImageRef(bucket="cutouts", key=item.image),
                    "mask": ImageRef(bucket="cutouts", key=item.mask),
                    "options": options,
                }
            )
            for item in load.items
        ]
        return load

    def send(self) -> None:
        """Submit all jobs; a second call submits the same ids again."""
        self.handles = self.client.submit_many(self.jobs)

    def wait(self, seconds: float) -> Mapping[str, str]:
        """Wait for the outcomes in the ledger."""
        results: dict[str, str] = {}
        try:
            for handle, outcome in self.client.as_completed(self.handles, seconds):
                assert handle.job.image is not None
                results[handle.job.image.key] = _state(outcome)
        except OutcomeTimeout:
            pass  # The caller sees which outcomes are missing.
        return results


@dataclass
class Synced:
    """The images of a prefix, sent by `cutwork sync`."""

    cluster: Cluster
    prefix: str
    items: list[Item]
    commands: list[Child] = field(default_factory=list)

    @classmethod
    def of(cls, cluster: Cluster, prefix: str, count: int) -> "Synced":
        """Return a load of the first `count` images of the bucket."""
        return cls(cluster, prefix, items_under(prefix, count))

    def send(self) -> None:
        """Start the command and wait until a worker runs its first job."""
        number = next(_numbers)
        log = self.cluster.folder / f"sync{number}.log"
        command = cutwork(
            self.cluster.stack,
            *("sync", "s3://photos/in/", f"s3://cutouts/{self.prefix}/image/"),
            *("--mask", f"s3://cutouts/{self.prefix}/mask/", "--json"),
            *("--limit", str(len(self.items)), "--window", "8"),
            *("--report", str(self.cluster.folder / "reports")),
            log=log,
            CUTWORK_VISIBILITY_TIMEOUT=str(VISIBILITY_TIMEOUT),
        )
        self.commands.append(command)
        runs = self.cluster.runs()
        deadline = time.monotonic() + GUARD_SECONDS
        while command.running and self.cluster.runs() == runs and time.monotonic() < deadline:
            time.sleep(0.01)

    def wait(self, seconds: float) -> Mapping[str, str]:
        """Wait until the command ends."""
        command = self.commands[-1]
        try:
            status = command.wait(seconds)
        except subprocess.TimeoutExpired:
            command.stop(grace=0)
            return {}
        events: list[Any] = [
            json.loads(line) for line in command.log.read_text().splitlines() if line[:1] == "{"
        ]
        failed = {event["source"]: event["code"] for event in events if event["event"] == "failure"}
        if status and not failed:
            return {}
        return {item.image: failed.get(f"s3://photos/{item.source}", "ok") for item in self.items}


def _state(outcome: Outcome) -> str:
    return "ok" if outcome.ok else outcome.code or outcome.state
