"""The log as JSON objects: on a real worker, and from the producer's command."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from deploy.local import LocalStack
from producer import Client, Job
from producer.contract.s3_uri import ImageRef
from tests.support.patience import PATIENCE
from tests.support.watched import Watched

RUN = "20261123-091500-3fa9c1"
FORGED = 'forged\n{"level": "INFO"}.jpg'


def job(key: str, **facts: Any) -> Job:
    return Job(
        source=ImageRef(bucket="photos", key=key),
        image=ImageRef(bucket="cutouts", key="logged.png"),
        **facts,
    )


def test_a_worker_s_json_log_names_the_job(stack: LocalStack, idle: Client) -> None:
    watched = Watched(stack, CUTWORK_BROKER_URL=idle.broker_url, CUTWORK_LOG_FORMAT="json")
    watched.until("/readyz", 200)
    good, bad = job("rocket.jpg", id=f"{RUN}.1"), job(FORGED)
    idle.submit_many([good, bad])
    watched.child.wait_until(
        lambda: sum(watched.samples()["cutwork_images_total"].values()) == 2, timeout=PATIENCE
    )
    watched.child.stop(grace=PATIENCE)
    lines = [json.loads(line) for line in watched.child.log.read_text().splitlines()]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    last = {line["job_id"]: line for line in lines if "state" in line}
    done, failed = last[good.id], last[bad.id]
    assert done["run_id"] == RUN
    assert (done["source"], done["state"], done["stage"]) == (str(good.source), "done", "store")
    assert done["seconds"].keys() >= {"fetch", "model", "store", "total"}
    assert (failed["source"], failed["code"], failed["level"]) == (
        str(bad.source),
        "source_not_found",
        "WARNING",
    )
    assert "run_id" not in failed


def test_the_command_s_warnings_are_json_too(idle: Client, tmp_path: Path) -> None:
    idle.runs.server.zadd("cutwork:runs", {RUN: 1})
    idle.runs.server.set(f"cutwork:run:{RUN}", "no record")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("cutwork")), "runs"],
        env=os.environ | {"CUTWORK_BROKER_URL": idle.broker_url, "CUTWORK_LOG_FORMAT": "json"},
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    warnings = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert any(RUN in line["message"] for line in warnings), done.stderr
