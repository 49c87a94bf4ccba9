"""A Node.js service submits jobs: real npm packages, a real broker, S3 and worker."""

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest
from filelock import FileLock
from platformdirs import user_cache_path

from benchmarks.pictures import put_pictures
from deploy.child import Child
from deploy.local import LocalStack
from producer import Client, Job
from tests.support.patience import PATIENCE
from tests.support.runs import until
from tests.unit.test_schemas import errors_in

NODE: Final = Path(__file__).parents[1] / "support" / "node"
LIST: Final = "cutwork.default:3"

Start = Callable[..., Child]
Ask = Callable[[Sequence[dict[str, Any]]], "subprocess.Popen[str]"]


@pytest.fixture(scope="session")
def packages() -> Path:
    """The packages of the service's lock file, fetched once per machine."""
    lock = (NODE / "package-lock.json").read_bytes()
    folder = user_cache_path("cutwork") / f"node-{hashlib.sha256(lock).hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "complete"
    with FileLock(folder / "lock"):
        if not done.exists():
            for name in ("package.json", "package-lock.json"):
                shutil.copy(NODE / name, folder)
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=PATIENCE)
            done.touch()
    return folder / "node_modules"


@pytest.fixture
def ask(idle: Client, packages: Path) -> Iterator[Ask]:
    """Return a function that starts the service, which sends the given jobs."""
    with ExitStack() as ending:

        def start_service(jobs: Sequence[dict[str, Any]]) -> "subprocess.Popen[str]":
            service = subprocess.Popen(
                ["node", str(NODE / "service.js"), idle.broker_url],
                env={"PATH": os.environ["PATH"], "NODE_PATH": str(packages)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            ending.enter_context(service)
            ending.callback(service.kill)
            assert service.stdin
            service.stdin.writelines(json.dumps(item) + "\n" for item in jobs)
            service.stdin.close()
            service.stdin = None
            return service

        yield start_service


@pytest.fixture
def start(stack: LocalStack, idle: Client) -> Iterator[Start]:
    """Return a function that starts a worker with a model that sleeps."""
    put_pictures(stack.s3(), "photos", "node/", 2)
    with ExitStack() as ending:

        def started(**variables: Any) -> Child:
            child = stack.start_worker(
                app="benchmarks.standin",
                CUTWORK_STANDIN="sleep",
                CUTWORK_STANDIN_LOG=os.devnull,
                CUTWORK_BROKER_URL=idle.broker_url,
                **variables,
            )
            ending.callback(child.stop, grace=5)
            stack.wait_for_worker(child)
            return child

        yield started


def job(number: int, **facts: Any) -> dict[str, Any]:
    name = f"node-{time.time():.6f}-{number}"
    return {
        "version": 1,
        "id": name,
        "source": f"s3://photos/node/{number:06d}.jpg",
        "image": f"s3://cutouts/node/{name}.png",
        "submitted_at": time.time(),
    } | facts


def outcomes(service: "subprocess.Popen[str]") -> list[dict[str, Any]]:
    output, errors = service.communicate(timeout=PATIENCE)
    assert service.returncode == 0, errors
    return [json.loads(line) for line in output.splitlines()]


def test_node_enqueues_and_reads_outcomes(
    stack: LocalStack, idle: Client, ask: Ask, start: Start
) -> None:
    jobs = [job(0), job(1, options={"threshold": 0.5}), job(7), job(1, image="file:///etc/passwd")]
    service = ask(jobs)
    server = idle.runs.server
    until(lambda: server.llen(LIST) == len(jobs))
    # The jobs are pending, as a Python producer's are, so a lost message would be sent again.
    assert idle.pending() == len(jobs)
    start()
    results = outcomes(service)
    assert [item["job_id"] for item in results] == [item["id"] for item in jobs]
    assert [item["state"] for item in results] == ["done", "done", "failed", "failed"]
    assert [item["code"] for item in results[2:]] == ["source_not_found", "forbidden"]
    assert [error for item in results for error in errors_in("outcome", item)] == []
    assert [error for item in jobs[:3] for error in errors_in("job", item)] == []
    _, _, key = jobs[0]["image"].split("/", 2)[-1].partition("/")
    assert stack.s3().head_object(Bucket="cutouts", Key=key)["ContentLength"] > 0
    assert idle.pending() == 0


def test_a_requeued_message_of_node_returns_to_its_list(
    idle: Client, ask: Ask, start: Start
) -> None:
    service = ask([job(0)])
    first = start(CUTWORK_GRACE="0.2", CUTWORK_STANDIN_SECONDS="60")
    server = idle.runs.server
    until(lambda: server.hlen("unacked") == 1)
    first.stop(grace=10)
    until(lambda: server.llen(LIST) == 1)
    start()
    assert [item["state"] for item in outcomes(service)] == ["done"]


def test_a_message_without_a_ledger_entry_is_processed(
    idle: Client, start: Start, packages: Path
) -> None:
    """A message from celery-node alone, without a ledger entry, is processed too."""
    script = """
        const [broker, text] = process.argv.slice(1);
        const job = JSON.parse(text);
        const client = require("celery-node").createClient(broker, broker, "cutwork.default:3");
        client.sendTask("cutwork.segment", [job], {}, job.id);
        client.isReady().then(() => client.disconnect());
    """
    only = job(0)
    subprocess.run(
        ["node", "-e", script, idle.broker_url, json.dumps(only)],
        env={"PATH": os.environ["PATH"], "NODE_PATH": str(packages)},
        check=True,
        timeout=PATIENCE,
    )
    assert idle.pending() == 0
    start()
    assert idle.handle(Job.from_message(only)).wait(PATIENCE).state == "done"
