"""The images of deploy/Dockerfile, as far as they can be tested without a Docker engine.

The install steps of each target are in a script, which the Dockerfile and these tests run. Whether
the layers fit together is not tested; hadolint lints the file.
"""

import importlib.metadata
import json
import os
import re
import signal
import subprocess
import sys
import tomllib
import venv
from collections.abc import Mapping
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from deploy.programs import run
from tests.support.patience import PATIENCE
from worker.config.settings import ModelSettings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text().replace("${TARGETARCH}", "amd64")
INSTALL = (DEPLOY / "install.sh").read_text()
BIN = Path(sys.executable).parent


def install(
    target: str, folder: Path, *arguments: str, variables: Mapping[str, str] | None = None
) -> str:
    """Run deploy/install.sh and return its output."""
    env = {**os.environ, "PYTHON": sys.executable, **(variables or {})}
    command = [str(DEPLOY / "install.sh"), target, str(folder), *arguments]
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_hadolint_finds_nothing() -> None:
    assert run(BIN / "hadolint", DEPLOY / "Dockerfile") == ""


def test_hadolint_detects_a_base_that_is_not_pinned(tmp_path: Path) -> None:
    base = re.compile(r"^FROM python:\S+", re.MULTILINE)
    (tmp_path / "Dockerfile").write_text(base.sub("FROM python", DOCKERFILE))
    with pytest.raises(OSError, match="DL3006"):
        run(BIN / "hadolint", tmp_path / "Dockerfile")


def test_only_one_base_is_external_and_it_is_pinned_by_digest() -> None:
    stages = re.findall(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, re.MULTILINE)
    outside = [base for base, _ in stages if base not in {name for _, name in stages}]
    assert len(outside) == 1
    assert re.fullmatch(r"python:[\d.]+-slim-\w+@sha256:[0-9a-f]{64}", outside[0])


@pytest.mark.parametrize("target", ["producer", "exporter", "worker-cpu", "worker-gpu"])
def test_a_target_is_not_root_and_receives_sigterm(target: str) -> None:
    instruction = re.compile(r"^(USER|ENTRYPOINT|CMD|HEALTHCHECK) (.*)", re.MULTILINE)
    lines = dict(match for stage in ancestry(target) for match in instruction.findall(stage))
    assert lines["USER"] == "10001:10001"
    for name in ("ENTRYPOINT", "CMD"):
        assert isinstance(json.loads(lines[name]), list)  # `exec` form
    if target != "producer":
        assert lines["HEALTHCHECK"] != "NONE"


def test_a_worker_s_command_is_the_one_that_is_tested() -> None:
    (words,) = re.findall(r'^CMD (\["celery".*)', DOCKERFILE, re.MULTILINE)
    started = (DEPLOY / "local.py").read_text()
    for word in json.loads(words)[1:]:
        assert f'"{word}"' in started


def test_only_copied_files_are_sent_to_the_engine() -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    kept = {line[1:] for line in ignored if line.startswith("!")}
    copied = {
        word
        for line in re.findall(r"^COPY (?!--from)(.*)", DOCKERFILE, re.MULTILINE)
        for word in line.split()[:-1]
        if not word.startswith("--")
    }
    assert kept == copied
    assert all((ROOT / name).exists() for name in copied)


def test_the_script_installs_extras_that_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    installed = {
        name
        for extras in re.findall(r"\$\{sources\}\[([\w,-]+)\]", INSTALL)
        for name in extras.split(",")
    }
    assert installed >= {"worker-cpu", "worker-gpu"}
    assert installed <= set(project["optional-dependencies"])


def test_an_unknown_target_is_refused(tmp_path: Path) -> None:
    command = [str(DEPLOY / "install.sh"), "worker", str(tmp_path / "venv")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "worker: expected producer, worker-cpu or worker-gpu\n"


@pytest.mark.images
def test_the_steps_of_the_producer(tmp_path: Path) -> None:
    install("producer", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    run(python.with_name("cutwork"), "--help")
    run(python, "-c", "import jinja2, cryptography")
    assert not list((tmp_path / "venv").rglob("numpy"))


def test_a_cpu_worker_needs_no_other_packages(tmp_path: Path) -> None:
    """The worker starts in an environment that holds its declared dependencies and nothing else.

    Their files are linked, which takes seconds; `make images-test` installs them.
    """
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    (site,) = (python.parents[1] / "lib").glob("python*/site-packages")
    for name in dependencies("cutwork", "worker-cpu", "signing", "otel"):
        link_distribution(name, site)
    for package in ("celeryconfig.py", "producer", "worker"):
        (site / package).symlink_to(ROOT / package)
    code = (
        "import worker.runtime.tasks, onnxruntime, opentelemetry.sdk.trace as w; print(w.__file__)"
    )
    path = run(python, "-c", code, cwd=tmp_path)
    assert Path(path.strip()).is_relative_to(tmp_path)


@pytest.mark.images
def test_the_packages_of_a_gpu_worker_resolve_to_their_exact_versions(tmp_path: Path) -> None:
    """The packages are resolved but not downloaded: they have two gigabytes."""
    pinned = (ROOT / "constraints.txt").read_text() + (DEPLOY / "cuda.txt").read_text()
    versions = {
        canonical(name): version for name, version in re.findall(r"^(\S+)==(\S+)$", pinned, re.M)
    }
    report = tmp_path / "report.json"
    install("worker-gpu", tmp_path / "venv", "--dry-run", "--report", str(report))
    resolved = {
        canonical(item["metadata"]["name"]): item["metadata"]["version"]
        for item in json.loads(report.read_text())["install"]
    }
    assert resolved.pop("cutwork")
    assert resolved.items() <= versions.items()
    assert {"onnxruntime-gpu", "nvidia-cudnn-cu13"} <= resolved.keys()


def dependencies(distribution: str, *extras: str) -> set[str]:
    """Return the names of the distributions that one needs, directly or through others."""
    found: set[str] = set()
    pending = [Requirement(f"{distribution}[{','.join(extras)}]")]
    seen = set(pending)
    while pending:
        requirement = pending.pop()
        for line in importlib.metadata.requires(requirement.name) or ():
            needed = Requirement(line)
            marker, needed.marker = needed.marker, None
            if marker and not any(
                marker.evaluate({"extra": extra}) for extra in (*requirement.extras, "")
            ):
                continue
            found.add(canonical(needed.name))
            if needed not in seen:
                seen.add(needed)
                pending.append(needed)
    return found - {distribution}


def link_distribution(name: str, site: Path) -> None:
    """Link the files of an installed distribution into another environment's site-packages."""
    for file in importlib.metadata.files(name) or ():
        if ".." not in file.parts:
            link = site / file
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file.locate())


@pytest.mark.parametrize("supported", ["x86-64-v2", "generic"])
def test_the_worker_replaces_the_entry_point(entry_point: Path, supported: str) -> None:
    started = enter(entry_point, supported, "sh", "-c", "echo $NUMBA_CPU_NAME $$; exec sleep 60")
    assert started.stdout is not None
    assert started.stdout.readline() == f"{supported} {started.pid}\n"
    assert (entry_point.parent / "run" / "kernels" / "a" / "b.nbc").read_bytes() == b"kernel"
    started.terminate()
    assert started.wait(PATIENCE) == -signal.SIGTERM
    started.stdout.close()


def test_an_unsupported_cpu_compiles_its_own_kernels(entry_point: Path) -> None:
    started = enter(entry_point, "x86-64-v9", "sh", "-c", "echo ${NUMBA_CPU_NAME-none}")
    output, _ = started.communicate(timeout=PATIENCE)
    assert "expected a CPU with x86-64-v9" in output
    assert output.endswith("\nnone\n")
    assert not list((entry_point.parent / "run" / "kernels").iterdir())


@pytest.fixture
def entry_point(tmp_path: Path) -> Path:
    """A copy of deploy/entrypoint.sh that takes a kernel from a temporary folder."""
    kernel = tmp_path / "kernels" / "a" / "b.nbc"
    kernel.parent.mkdir(parents=True)
    kernel.write_bytes(b"kernel")
    text = (DEPLOY / "entrypoint.sh").read_text()
    copy = tmp_path / "entrypoint.sh"
    copy.write_text(text.replace("/opt/cutwork/kernels", str(kernel.parents[1])))
    return copy


def enter(entry_point: Path, cpu: str, *command: str) -> subprocess.Popen[str]:
    """Start a command through the entry point, with kernels for this CPU."""
    kernels = entry_point.parent / "run" / "kernels"
    return subprocess.Popen(
        ["sh", str(entry_point), *command],
        env={**os.environ, "NUMBA_CACHE_DIR": str(kernels), "NUMBA_CPU_NAME": cpu},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.images
@pytest.mark.timeout(1500)
def test_the_kernels_and_models_of_a_cpu_image_are_used(tmp_path: Path) -> None:
    """Nothing is compiled or fetched again, because the root file system may be read-only."""
    kernels = tmp_path / "kernels"
    variables = {
        "NUMBA_CACHE_DIR": str(kernels),
        "NUMBA_CPU_NAME": "x86-64-v2",  # not the CPU of this machine
        "NUMBA_CPU_FEATURES": "",
        "CUTWORK_MODEL_CACHE": str(ModelSettings.read().model_cache),
        "MODELS": "isnet-general-use",
    }
    install("worker-cpu", tmp_path / "venv", variables=variables)
    compiled = sorted(kernels.rglob("*.nbc"))
    assert len(compiled) > 5
    assert all(path.stat().st_mtime % 1 == 0 for path in (tmp_path / "venv").rglob("*.py"))
    copy = tmp_path / "copy"  # as deploy/entrypoint.sh copies them
    run("cp", "-R", f"{kernels}/.", copy)
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*.nb?")}
    done = subprocess.run(
        [str(tmp_path / "venv" / "bin" / "python"), "-m", "worker", "compile"],
        env={**os.environ, **variables, "NUMBA_CACHE_DIR": str(copy)},
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*.nb?")} == before


def ancestry(target: str) -> list[str]:
    """Return the text of a stage, preceded by the stages that it is based on."""
    stages = {
        name: (base, text)
        for base, name, text in re.findall(
            r"^FROM (\S+) AS (\S+)\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL
        )
    }
    base, text = stages[target]
    return [*(ancestry(base) if base in stages else []), text]


def canonical(name: str) -> str:
    """Normalise the name of a distribution."""
    return re.sub(r"[-_.]+", "-", name).lower()
