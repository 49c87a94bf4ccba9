"""Seeds of the fuzzer: every hostile file and every hostile entry of the queue."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from producer import Job, Options
from producer.contract.outcome import Outcome
from tests.integration.test_message_check import ENTRIES, message
from tests.support.hostile.corpus import corpus
from tests.support.hostile.icc import profiles
from tests.support.hostile.originals import originals
from tests.support.icc_profiles import real_profiles

LONGEST: Final = 100_000
"""The largest size of a seed in bytes; longer ones would only test the size limits."""


def _decode() -> Iterator[bytes]:
    yield from originals().values()
    yield from (file.data for file in corpus())


def _message() -> Iterator[bytes]:
    options = Options(threshold=0.5, alpha_matting=True, background="#ffffff", size=(64, 32))
    job = Job(
        source="s3://photos/a.jpg",
        image="s3://cutouts/a.png",
        mask="s3://cutouts/m",
        options=options,
    )
    yield json.dumps(job.to_message()).encode()
    yield message(
        [[job.to_message()], {}, {"callbacks": None, "chain": [], "chord": None}]
    ).encode()
    yield json.dumps(
        Outcome(job_id="a", state="failed", code="x", message="y").to_message()
    ).encode()
    for path in sorted((Path(__file__).parents[2] / "golden").glob("*.json")):
        yield path.read_bytes()
    yield from (entry.encode() for entry in ENTRIES.values())


def _icc() -> Iterator[bytes]:
    yield from real_profiles().values()
    yield from (profile for _, profile in profiles().values())


SEEDS: Final[Mapping[str, Callable[[], Iterator[bytes]]]] = {
    "decode": _decode,
    "message": _message,
    "icc": _icc,
}


def write_seeds(target: str, folder: Path) -> None:
    """Write the seeds of a target into a folder, one file each."""
    for number, data in enumerate(SEEDS[target]()):
        if len(data) <= LONGEST:
            (folder / f"seed-{number}").write_bytes(data)
