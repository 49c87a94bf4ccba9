"""Seeds of the fuzzer: every hostile file and every hostile entry of the queue."""

import base64
import io
import json
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import safetensors.torch
import torch

from producer import Job, Options
from producer.contract.outcome import Outcome
from tests.integration.test_message_check import ENTRIES
from tests.support.hostile.corpus import corpus
from tests.support.hostile.icc import profiles
from tests.support.hostile.originals import originals
from tests.support.icc_profiles import real_profiles
from tests.support.messages import message, mutated_messages, whole_message
from tests.support.small_graphs import small_graphs

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
    # Not Base64, so that the fuzzer reaches the fields inside the body.
    yield json.dumps(whole_message()).encode()
    for entry in mutated_messages(seed=1, count=50):
        parts = json.loads(entry)
        yield json.dumps(parts | {"body": json.loads(base64.b64decode(parts["body"]))}).encode()
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


def _onnx_graph() -> Iterator[bytes]:
    yield from small_graphs().values()


def _checkpoint() -> Iterator[bytes]:
    tensors = {
        "conv.weight": torch.ones(4, 3, 1, 1),
        "half": torch.ones(2, dtype=torch.float16),
        "view": torch.arange(9.0).reshape(3, 3).T,
        "module.steps": torch.tensor(3),
        "empty": torch.zeros(0),
    }
    nested = {"state_dict": OrderedDict(tensors), "epoch": 3, "args": ("a", 1.5, None, True)}
    for content, is_zip in ((tensors, True), (tensors, False), (nested, True), ([1, "a"], True)):
        held = io.BytesIO()
        torch.save(content, held, _use_new_zipfile_serialization=is_zip)
        yield held.getvalue()
    yield safetensors.torch.save({name: item.contiguous() for name, item in tensors.items()})
    # A name of tuples that each hold the one before twice.
    yield _pickled(b"\x80\x02}K\x01" + b"q\x00h\x00\x86" * 60 + b"K\x01s.")


def _pickled(pickle: bytes) -> bytes:
    """Return a checkpoint with a pickle and nothing else."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("archive/data.pkl", pickle)
        archive.writestr("archive/version", "3\n")
    return held.getvalue()


SEEDS: Final[Mapping[str, Callable[[], Iterator[bytes]]]] = {
    "decode": _decode,
    "message": _message,
    "icc": _icc,
    "onnx_graph": _onnx_graph,
    "checkpoint": _checkpoint,
}


def write_seeds(target: str, folder: Path) -> None:
    """Write the seeds of a target into a folder, one file each."""
    for number, data in enumerate(SEEDS[target]()):
        if len(data) <= LONGEST:
            (folder / f"seed-{number}").write_bytes(data)
