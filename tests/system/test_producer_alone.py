"""The base install in its own environment, without the dependencies of a worker."""

import json
import subprocess
import sys
import venv
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from deploy.local import LocalStack
from tests.support.patience import PATIENCE

ROOT = Path(__file__).parents[2]
FOREIGN = (
    "numpy",
    "torch",
    "onnx",
    "onnxruntime",
    "PIL",
    "scipy",
    "worker.runtime.tasks",
    "worker.imaging.decode",
)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel, what it requires and nothing else."""
    folder = tmp_path_factory.mktemp("producer")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    # Modules are compiled on import: most of botocore is never imported.
    arguments = ("install", "-q", "--no-compile", "--no-deps", str(ROOT))
    subprocess.run([*pip(python), *arguments], check=True)
    (packages,) = folder.glob("lib/*/site-packages")
    link_dependencies(packages)
    return python


def link_dependencies(packages: Path) -> None:
    """Link what the installed wheel requires, from the environment of the tests.

    Both have the versions of constraints.txt, and pip would copy thousands of files.
    """
    (own,) = distributions(name="cutwork", path=[str(packages)])
    waiting, seen = required(own, ""), set()
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) not in seen:
            seen.add((name, extra))
            found = distribution(name)
            waiting |= required(found, extra)
            for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
                link = packages / top
                if not link.exists():
                    link.symlink_to(str(found.locate_file(top)))


def required(found: Distribution, extra: str) -> set[tuple[str, str]]:
    """Return the names, with one extra each or "", that a distribution with this extra needs."""
    lines = map(Requirement, found.requires or ())
    return {
        (line.name, wanted)
        for line in lines
        if line.marker is None or line.marker.evaluate({"extra": extra})
        for wanted in ("", *line.extras)
    }


def pip(python: Path) -> list[str]:
    """Return this environment's pip for another one, which is faster than installing pip there."""
    return [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]


def test_nothing_of_a_worker_is_installed(python: Path) -> None:
    listed = subprocess.run(
        [*pip(python), "list", "--format", "json"],
        check=True,
        capture_output=True,
        text=True,
    )
    names = {item["name"].lower() for item in json.loads(listed.stdout)}
    assert "cutwork" in names
    foreign = {"numpy", "torch", "onnx", "onnxruntime", "onnxruntime-gpu", "pillow", "pyarrow"}
    assert not names & foreign


def test_importing_the_producer_loads_nothing_of_a_worker(python: Path, tmp_path: Path) -> None:
    code = (
        "import sys, producer, producer.cli.main, producer.client, producer.cli.doctor, "
        "producer.sync.manifest.manifest, producer.store.queue_status\n"
        f"print([name for name in {FOREIGN!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [str(python), "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_missing_pyarrow_is_reported_in_one_sentence(python: Path, tmp_path: Path) -> None:
    (tmp_path / "m.parquet").write_bytes(b"PAR1")
    code = (
        "from producer.sync.manifest.manifest import ManifestError, open_manifest\n"
        "try:\n"
        "    with open_manifest('m.parquet', s3=None) as manifest:\n"
        "        list(manifest.check())\n"
        "except ManifestError as error:\n"
        "    print(error)"
    )
    done = subprocess.run(
        [str(python), "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert "manifest m.parquet: expected pyarrow for Parquet" in done.stdout, done.stderr
    assert "install cutwork[parquet]" in done.stdout


def test_the_base_install_submits_and_reports(
    python: Path, stack: LocalStack, tmp_path: Path
) -> None:
    def cutwork(*arguments: str) -> str:
        command = [str(python.with_name("cutwork")), *arguments]
        env = stack.environment() | {"CUTWORK_BROKER_URL": alone.broker_url}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr
        return done.stdout

    with LocalStack(tmp_path) as alone:
        alone.start_broker()
        assert len(cutwork("submit", "s3://photos/a.jpg", "s3://cutouts/a.png").strip()) == 32
        assert json.loads(cutwork("status", "--json"))["waiting"] == 1
        report = cutwork("doctor", "s3://photos")
    assert "worker here: not installed; this machine can only enqueue" in report


@pytest.mark.parametrize("command", ["-m worker doctor", "-m celery -A worker worker"])
def test_a_worker_names_the_missing_extra(python: Path, tmp_path: Path, command: str) -> None:
    done = subprocess.run(
        [str(python), *command.split()],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=PATIENCE,
    )
    assert done.returncode != 0
    assert "install cutwork[worker-cpu]" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_wheel_contains_every_package(python: Path) -> None:
    code = (
        "import producer, worker; from importlib.util import find_spec; "
        "assert find_spec('celeryconfig') is None; print(producer.__file__)"
    )
    done = subprocess.run(
        [str(python), "-c", code], capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    assert str(python.parents[1]) in done.stdout
    assert sys.executable != str(python)


def test_an_exporter_without_its_extra_is_reported_in_one_sentence(
    python: Path, tmp_path: Path
) -> None:
    command = [str(python.with_name("cutwork")), "exporter"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert "the exporter needs prometheus_client; install cutwork[exporter]" in done.stderr


def test_models_need_an_installed_worker(python: Path, tmp_path: Path) -> None:
    command = [str(python.with_name("cutwork")), "models", "fetch", "u2netp"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert "expected an installed worker, found none; install cutwork[worker-cpu] or" in done.stderr
