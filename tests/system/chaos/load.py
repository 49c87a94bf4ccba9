"""Images on their way through the queue: as single jobs, or as a run of `cutwork sync`."""

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
from tests.system.chaos.ground import GUARD_SECONDS, PICTURES, VISIBILITY, Ground

_numbers: Final = itertools.count(1)


class Item(NamedTuple):
    """One image: where its results go in the bucket `cutouts`."""

    source: str
    image: str
    mask: str


class Load(Protocol):
    """Images to be cut out."""

    @property
    def items(self) -> list[Item]:
        """All of them."""
        ...

    def send(self) -> None:
        """Send them, or what is left of them; may be called again."""
        ...

    def wait(self, seconds: float) -> Mapping[str, str]:
        """What became of each, by the key of its image: `ok` or the code of its error.

        Returns as soon as all have an outcome; what has none after `seconds` is left out.
        """
        ...


def places(prefix: str, count: int) -> list[Item]:
    """Items under a prefix of their own."""
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
    """Jobs of a service, submitted by a client."""

    client: Client
    items: list[Item]
    options: Mapping[str, object] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)
    handles: list[Handle] = field(default_factory=list)

    @classmethod
    def of(cls, ground: Ground, prefix: str, count: int, **options: object) -> "Singles":
        """So many jobs that write under a prefix."""
        load = cls(ground.client, places(prefix, count), options)
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
        """Submit all; the same ids once more the second time."""
        self.handles = self.client.submit_many(self.jobs)

    def wait(self, seconds: float) -> Mapping[str, str]:
        """Wait on the ledger."""
        found: dict[str, str] = {}
        try:
            for handle, outcome in self.client.as_completed(self.handles, seconds):
                assert handle.job.image is not None
                found[handle.job.image.key] = _state(outcome)
        except OutcomeTimeout:
            pass  # What is missing in `found` says it.
        return found


@dataclass
class Synced:
    """The pictures of a prefix, by the command."""

    ground: Ground
    prefix: str
    items: list[Item]
    commands: list[Child] = field(default_factory=list)

    @classmethod
    def of(cls, ground: Ground, prefix: str, count: int) -> "Synced":
        """So many pictures, the first of the bucket."""
        return cls(ground, prefix, places(prefix, count))

    def send(self) -> None:
        """Start the command, and wait until the first jobs are in the queue or with a worker."""
        number = next(_numbers)
        log = self.ground.folder / f"sync{number}.log"
        command = cutwork(
            self.ground.stack,
            *("sync", "s3://photos/in/", f"s3://cutouts/{self.prefix}/image/"),
            *("--mask", f"s3://cutouts/{self.prefix}/mask/", "--json"),
            *("--limit", str(len(self.items)), "--window", "8"),
            *("--report", str(self.ground.folder / "reports")),
            log=log,
            CUTWORK_VISIBILITY_TIMEOUT=str(VISIBILITY),
        )
        self.commands.append(command)
        runs = self.ground.runs()
        deadline = time.monotonic() + GUARD_SECONDS
        while command.running and self.ground.runs() == runs and time.monotonic() < deadline:
            time.sleep(0.01)

    def wait(self, seconds: float) -> Mapping[str, str]:
        """Wait for the command's end."""
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
