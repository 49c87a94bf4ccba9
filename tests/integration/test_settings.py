"""Settings: a worker with an invalid value refuses to start and names the variable."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.patience import PATIENCE

PREFIXES = {"CUTWORK_READ_FROM": "s3://photos/in, s3://more", "CUTWORK_WRITE_TO": "s3://cutouts"}


def test_a_celeryconfig_in_the_current_folder_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "celeryconfig.py").write_text("accept_content = ['pickle']\ntask_acks_late = False")
    done = subprocess.run(
        [sys.executable, "-c", "from worker import app; print(app.conf.accept_content)"],
        env={**os.environ, **PREFIXES, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "['json']"


def test_a_read_only_model_cache_is_refused_at_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "worker", "worker"],
        env={**os.environ, **PREFIXES, "CUTWORK_MODEL_CACHE": str(tmp_path / "file" / "models")},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode != 0
    assert "set CUTWORK_MODEL_CACHE to a folder that is" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({}, "cutwork: CUTWORK_READ_FROM: field required"),
        ({**PREFIXES, "CUTWORK_MAX_PIXELS": "1e9"}, "cutwork: CUTWORK_MAX_PIXELS: input should be"),
        (
            {**PREFIXES, "CUTWORK_CONCURRENCY": "lots"},
            "cutwork: CUTWORK_CONCURRENCY='lots': expected a whole number from 1 to 1000",
        ),
        (
            {**PREFIXES, "CUTWORK_BROKER_URL": "redis://localhost:x/0"},
            "cutwork: CUTWORK_BROKER_URL: ",
        ),
        ({**PREFIXES, "CUTWORK_PRELOAD": "u3net"}, "cutwork: model: expected one of isnet-general"),
    ],
)
def test_a_worker_refuses_to_start_with_one_clear_line(
    variables: dict[str, str], sentence: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "worker", "worker"],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode != 0
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
