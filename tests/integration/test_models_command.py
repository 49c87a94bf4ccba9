"""`python -m worker models` and `cutwork models`: the list, and images that include models."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from deploy.child import Child
from deploy.local import LocalStack, own_environment
from producer import Client, Options
from tests.support.jobs import run
from tests.support.patience import PATIENCE
from worker.cli.main import app
from worker.models.files.catalogue import catalogue
from worker.models.files.store import ModelStore

CUTWORK = Path(sys.executable).with_name("cutwork")

WITHOUT_OVERRIDE = """
import ctypes, os, sys
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1
if os.geteuid() == 0 and ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0):
    sys.exit("root keeps its override of file permissions")
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Runs a program to which file permissions apply, even if root runs the tests."""


def models(*arguments: str, **env: str) -> Result:
    """Run the command in this process; unexpected errors are raised here."""
    return CliRunner().invoke(
        app,
        ["models", *arguments],
        prog_name="python -m worker",
        env={"COLUMNS": "200", **env},
        catch_exceptions=False,
    )


@pytest.fixture(scope="module")
def image_cache(
    store: ModelStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, str]]:
    """A read-only model cache, as in a container image, and what the command printed."""
    folder = tmp_path_factory.mktemp("image") / "models"
    mirror = store.resolve("u2netp").path.parent
    env = {"CUTWORK_MODEL_CACHE": str(folder), "CUTWORK_MODEL_MIRROR": str(mirror)}
    done = models("fetch", "u2netp", **env)
    assert done.exit_code == 0, done.stderr
    places = [folder, *folder.rglob("*")]
    for path in places:
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield folder, done.stderr
    for path in places:
        path.chmod(0o755)


def test_the_list_shows_what_is_cached_and_where_it_runs(tmp_path: Path) -> None:
    (tmp_path / "u2netp.onnx").touch()
    env = {"CUTWORK_MODEL_CACHE": str(tmp_path)}
    rows = {row["name"]: row for row in json.loads(models("--json", **env).stdout)}
    assert set(rows) == set(catalogue())
    assert rows["u2netp"]["cached"] is True
    assert rows["u2net"]["cached"] is False
    assert {row["runs_on"] for row in rows.values()} <= {"cpu", "cuda"}
    assert rows["rmbg-1.4"]["accepted"] is False
    lines = models(**env).stdout.splitlines()
    (line,) = (line for line in lines if line.startswith("rmbg-1.4 "))
    assert "LicenseRef-bria-rmbg-1.4 * " in line
    assert lines[-1].startswith("* restricts the use")
    env["CUTWORK_ACCEPT_LICENSES"] = "LicenseRef-bria-rmbg-1.4"
    assert "*" not in models(**env).stdout


def test_fetching_takes_catalogue_names_and_accepted_licences(tmp_path: Path) -> None:
    env = {"CUTWORK_MODEL_CACHE": str(tmp_path)}
    for name, sentence in (("u3net", "unknown_model"), ("rmbg-1.4", "licence_not_accepted")):
        done = models("fetch", name, **env)
        assert done.exit_code == 1
        assert f"error: {sentence}: model" in done.stderr


def test_fetching_prepares_the_graph(image_cache: tuple[Path, str]) -> None:
    folder, output = image_cache
    assert f"u2netp: {folder / 'u2netp.onnx'}" in output
    assert list((folder / "prepared").glob("*.onnx"))


def test_a_worker_runs_on_a_read_only_cache(
    image_cache: tuple[Path, str], stack: LocalStack, tmp_path: Path
) -> None:
    folder, _ = image_cache
    celery = str(Path(sys.executable).with_name("celery"))
    command = [
        *(sys.executable, "-c", WITHOUT_OVERRIDE, celery, "-A", "worker", "worker"),
        *("--loglevel", "INFO", "--without-gossip", "--without-mingle", "--without-heartbeat"),
    ]
    broker = stack.broker_url.removesuffix("/0") + "/1"
    env = own_environment() | stack.environment()
    env |= {"CUTWORK_MODEL_CACHE": str(folder), "CUTWORK_PRELOAD": "u2netp"}
    env |= {"CUTWORK_BROKER_URL": broker, "CUTWORK_MAX_ATTEMPTS": "1"}
    child = Child("read-only", command, log=tmp_path / "worker.log", env=env)
    try:
        stack.wait_for_worker(child)
        with Client(broker) as client:
            options = Options(model="u2netp")
            place = "s3://cutouts/read-only.png"
            outcome = run(client, "s3://photos/chelsea.png", mask=place, options=options)
            assert outcome.state == "done", outcome
            other = Options(model="u2net")
            refused = run(client, "s3://photos/chelsea.png", mask=place, options=other)
            assert refused.code == "model_unavailable"
            assert "cannot be written" in (refused.message or "")
    finally:
        child.stop(grace=10)
    log = child.log.read_text()
    assert "only models already in it can be used" in log


def test_the_producer_s_command_is_the_same() -> None:
    for arguments in (["--json"], ["--help"], ["fetch", "u3net"]):
        done = subprocess.run(
            [str(CUTWORK), "models", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
            env=os.environ | {"COLUMNS": "200"},
        )
        same = models(*arguments)
        # Compared by words: help is wrapped at another column in this process.
        assert (done.returncode, done.stdout.split()) == (same.exit_code, same.stdout.split())
