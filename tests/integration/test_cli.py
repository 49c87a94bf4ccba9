"""The `cutwork` command with a real broker, S3 and worker, in this process and as installed."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from deploy.child import Child
from deploy.local import LocalStack, free_ports
from producer import Client
from producer.cli.main import app
from producer.contract.options import Options

CUTWORK = Path(sys.executable).with_name("cutwork")


def cutwork(stack: LocalStack, *arguments: str, **env: str) -> Result:
    """Run the command in this process; unexpected errors are raised here."""
    return CliRunner().invoke(
        app,
        arguments,
        env={**stack.environment(), "COLUMNS": "200", **env},
        catch_exceptions=False,
    )


@pytest.mark.usefixtures("worker")
def test_submit_and_wait(stack: LocalStack) -> None:
    places = ("s3://photos/rocket.jpg", "s3://cutouts/cli.png", "--mask", "s3://cutouts/cli-m.png")
    done = cutwork(stack, "submit", *places, "--wait", "--threshold", "0.5")
    assert done.exit_code == 0, done.stderr
    assert "s3://cutouts/cli.png" in done.stdout
    assert "isnet-general-use on cpu (Winograd, float32)" in done.stdout
    repeated = cutwork(stack, "submit", *places, "--wait", "--threshold", "0.5", "--json")
    assert json.loads(repeated.stdout)["state"] == "skipped"


@pytest.mark.usefixtures("worker")
def test_submit_without_waiting_prints_the_id(stack: LocalStack) -> None:
    done = cutwork(stack, "submit", "s3://photos/rocket.jpg", "s3://cutouts/id.png", "--no-enabled")
    assert done.exit_code == 0, done.stderr
    assert len(done.stdout.strip()) == 32


@pytest.mark.usefixtures("worker")
def test_keys_are_printed_unchanged(stack: LocalStack) -> None:
    stack.s3().copy_object(
        Bucket="photos", Key="[/red] x.jpg", CopySource={"Bucket": "photos", "Key": "rocket.jpg"}
    )
    places = ("s3://photos/[/red] x.jpg", "s3://cutouts/IMG [final].png")
    done = cutwork(stack, "submit", *places, "--no-enabled", "--wait")
    assert done.exit_code == 0, done.stderr
    assert "s3://cutouts/IMG [final].png" in done.stdout


@pytest.mark.usefixtures("worker")
def test_a_failed_job_is_printed_and_sets_the_exit_status(stack: LocalStack) -> None:
    done = cutwork(stack, "submit", "s3://photos/none.jpg", "s3://cutouts/x.png", "--wait")
    assert done.exit_code == 1
    assert "source_not_found: s3://photos/none.jpg: expected an object, found none" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("photos/a.jpg", "s3://cutouts/a.png"), "source: expected s3://bucket/key"),
        (("s3://photos/a.jpg",), "expected a destination: image, mask, or both"),
        (
            ("s3://photos/a.jpg", "s3://cutouts/a.png", "--std", "0"),
            "--std: expected numbers greater than 0",
        ),
        (("s3://photos/a.jpg", "s3://cutouts/a.png", "--size", "x"), "--size: expected numbers"),
    ],
)
def test_invalid_arguments_are_refused_in_one_sentence(
    stack: LocalStack, arguments: tuple[str, ...], sentence: str
) -> None:
    done = cutwork(stack, "submit", *arguments)
    assert done.exit_code == 2
    assert sentence in " ".join(done.stderr.replace("│", " ").split())
    assert isinstance(done.exception, SystemExit)


def test_status(stack: LocalStack, worker: Child) -> None:
    assert worker.running
    done = cutwork(stack, "status")
    assert done.exit_code == 0, done.stderr
    for name in ("waiting", "in flight", "pending", f"{worker.name}@local"):
        assert name in done.stdout
    facts: dict[str, Any] = json.loads(cutwork(stack, "status", "--json").stdout)
    assert set(facts) == {
        *("waiting", "in_flight", "oldest_waiting_seconds", "pending", "queues", "workers")
    }
    assert set(facts["queues"]) == {"cutwork.default"}
    assert facts["workers"] == [f"{worker.name}@local"]


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_the_status_is_shown_until_ctrl_c(
    idle: Client, stack: LocalStack, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    pauses = iter([None])

    def sleep(seconds: float) -> None:
        assert seconds == 0.5
        if next(pauses, "end"):
            raise KeyboardInterrupt

    monkeypatch.setattr("producer.cli.status.time", SimpleNamespace(sleep=sleep))
    several = {"CUTWORK_BROKER_URL": idle.broker_url}
    done = cutwork(stack, "status", "--watch", "--every", "0.5", *arguments, **several)
    assert done.exit_code == 0
    assert done.stdout.count("pending") == 2


def test_status_has_one_line_per_queue(idle: Client, stack: LocalStack) -> None:
    idle.submit("s3://photos/a.jpg", mask="s3://cutouts/a.png")
    several = {"CUTWORK_BROKER_URL": idle.broker_url, "CUTWORK_CLASSES": "gpu"}
    lines = cutwork(stack, "status", **several).stdout.splitlines()
    assert re.fullmatch(r"cutwork\.default +1 waiting, the oldest for \d+ s; 0 in flight", lines[2])
    assert re.fullmatch(r"cutwork\.gpu +0 waiting; 0 in flight", lines[3])
    facts = json.loads(cutwork(stack, "status", "--json", **several).stdout)
    assert [queue["waiting"] for queue in facts["queues"].values()] == [1, 0]
    assert facts["waiting"] == 1


@pytest.mark.usefixtures("worker")
def test_doctor_finds_no_problem(stack: LocalStack) -> None:
    done = cutwork(stack, "doctor", "s3://photos", "--write", "s3://cutouts/a/b")
    assert done.exit_code == 0, done.stdout
    for name in ("broker", "workers", "queues", "S3 read s3://photos", "S3 write s3://cutouts/a/b"):
        assert f"✓ {name}" in done.stdout
    for name in ("worker settings", "model cache", "onnxruntime", "torch"):
        assert f"✓ {name}" in done.stdout
    listing = stack.s3().list_objects_v2(Bucket="cutouts", Prefix="a/b")
    assert listing["KeyCount"] == 0


def test_doctor_says_what_to_do(stack: LocalStack, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    locked = tmp_path / "file"
    locked.write_text("in the way of a folder")
    done = cutwork(
        stack,
        "doctor",
        "s3://no-such-bucket",
        "nonsense",
        CUTWORK_BROKER_URL=f"redis://:hidden@127.0.0.1:{port}/0",
        CUTWORK_READ_FROM="",
        CUTWORK_MODEL_CACHE=str(locked / "cache"),
    )
    assert done.exit_code == 1
    for sentence in (
        "is it running, and is CUTWORK_BROKER_URL right?",
        "check AWS_ENDPOINT_URL",
        "expected s3://bucket or s3://bucket/folder, found 'nonsense'",
        "CUTWORK_READ_FROM: field required",
        "or set CUTWORK_MODEL_CACHE to a writable folder",
    ):
        assert sentence in done.stdout
    assert "hidden" not in done.stdout
    assert isinstance(done.exception, SystemExit)


def test_doctor_finds_a_broker_that_would_drop_jobs(tmp_path: Path, stack: LocalStack) -> None:
    with LocalStack(tmp_path) as alone:
        alone.start_broker("--maxmemory-policy", "allkeys-lru")
        done = cutwork(stack, "doctor", CUTWORK_BROKER_URL=alone.broker_url)
    assert done.exit_code == 1
    assert "has maxmemory-policy allkeys-lru; set maxmemory-policy noeviction" in done.stdout


def test_doctor_finds_no_worker(tmp_path: Path, stack: LocalStack) -> None:
    with LocalStack(tmp_path) as alone:
        alone.start_broker()
        done = cutwork(stack, "doctor", CUTWORK_BROKER_URL=alone.broker_url)
    assert done.exit_code == 1
    assert "✗ workers: none responded; start one with `celery -A worker worker" in done.stdout


@pytest.mark.parametrize("command", ["status", "submit"])
def test_an_unreachable_broker_is_reported_in_one_sentence(stack: LocalStack, command: str) -> None:
    (port,) = free_ports(1)
    places = ("s3://photos/a.jpg", "s3://cutouts/a.png") if command == "submit" else ()
    done = cutwork(stack, command, *places, CUTWORK_BROKER_URL=f"redis://127.0.0.1:{port}/0")
    assert done.exit_code == 3
    assert "CUTWORK_BROKER_URL" in done.stderr
    assert isinstance(done.exception, SystemExit)


def test_an_invalid_variable_is_reported_in_one_sentence(stack: LocalStack) -> None:
    done = cutwork(stack, "status", CUTWORK_BROKER_URL="http://x")
    assert done.exit_code == 2
    assert "CUTWORK_BROKER_URL: expected a URL that begins with redis://" in done.stderr
    done = cutwork(stack, "status", CUTWORK_VISIBILITY_TIMEOUT="soon")
    assert "CUTWORK_VISIBILITY_TIMEOUT='soon': expected a whole number" in done.stderr


@pytest.mark.parametrize(
    "command", [[str(CUTWORK), "submit"], [sys.executable, "-m", "worker", "segment"]]
)
def test_both_commands_accept_every_option(command: list[str]) -> None:
    done = subprocess.run(
        [*command, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"COLUMNS": "200"},
    )
    for name in Options.model_fields:
        assert f"--{name.replace('_', '-')}" in done.stdout


def test_the_help_imports_no_library_of_a_command() -> None:
    code = "import sys, producer.cli.main; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"boto3", "botocore", "celery", "kombu", "redis", "rich", "jinja2", "PIL"}
    assert not {*done.stdout.split()} & {*heavy, "pydantic_settings", "opentelemetry"}
