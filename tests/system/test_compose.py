"""deploy/compose.yaml, as Compose reads it, and the example of docs/operate/deploy.md."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.local import LocalStack
from deploy.programs import run

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "compose.yaml"
PAGE = (ROOT / "docs" / "operate" / "deploy.md").read_text()
BIN = Path(sys.executable).parent


def read(file: Path) -> dict[str, Any]:
    """Return the services as Compose resolves them; raise `OSError` if it refuses the file."""
    command: list[str | Path] = [
        BIN / "docker-compose",
        "-f",
        file,
        "--profile",
        "*",
        "config",
        "--format",
        "json",
    ]
    services: dict[str, Any] = json.loads(run(*command))["services"]
    return services


def test_compose_accepts_the_file() -> None:
    expected = {"broker", "s3", "buckets", "producer", "worker", "worker-gpu", "exporter"}
    assert set(read(FILE)) == expected | {"prometheus", "grafana"}


@pytest.mark.parametrize(
    ("written", "wrong"),
    [("read_only:", "readonly:"), ("always", "[always]"), ("[s3:/data]", "[s4:/data]")],
)
def test_compose_refuses_a_file_with_a_mistake(written: str, wrong: str, tmp_path: Path) -> None:
    assert written in FILE.read_text()
    copy = tmp_path / "compose.yaml"
    copy.write_text(FILE.read_text().replace(written, wrong))
    with pytest.raises(OSError, match="docker-compose ended with"):
        read(copy)


def test_built_images_are_targets_and_fetched_ones_are_pinned() -> None:
    targets = re.findall(r"^FROM .* AS (\S+)$", (ROOT / "deploy" / "Dockerfile").read_text(), re.M)
    for name, service in read(FILE).items():
        if "build" in service:
            assert service["build"]["target"] in targets, name
        else:
            assert re.search(r":[\w.-]+@sha256:[0-9a-f]{64}$", service["image"]), name


def test_ports_are_local_and_built_images_are_confined() -> None:
    for name, service in read(FILE).items():
        assert {port["host_ip"] for port in service.get("ports", ())} <= {"127.0.0.1"}, name
        if "build" in service:
            assert service["read_only"], name
            assert service["tmpfs"] == ["/tmp"], name  # noqa: S108 - a mount
            assert service["cap_drop"] == ["ALL"], name


def test_mounted_files_exist() -> None:
    mounts = [
        (name, mount["source"])
        for name, service in read(FILE).items()
        for mount in service.get("volumes", ())
        if mount["type"] == "bind"
    ]
    assert len(mounts) > 4
    assert not [(name, path) for name, path in mounts if not Path(path).exists()]


@pytest.mark.usefixtures("worker")
def test_the_example_of_the_page_works_on_the_seeded_files(
    stack: LocalStack, tmp_path: Path
) -> None:
    services = read(FILE)
    _, _, *pictures = services["buckets"]["entrypoint"]
    mounted = {mount["target"]: mount["source"] for mount in services["buckets"]["volumes"]}
    env = os.environ | stack.environment()
    for _ in range(2):  # Compose runs the seed at every start.
        seed = [sys.executable, mounted["/seed/seed.py"], *(mounted[name] for name in pictures)]
        subprocess.run(seed, env=env, check=True)
    (example,) = re.findall(r"compose\.yaml run --rm producer (submit .*)", PAGE)
    done = subprocess.run(
        [str(BIN / "cutwork"), *example.split()],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (place,) = re.findall(r"s3://(cutouts)/(\S+)", example)
    assert stack.s3().head_object(Bucket=place[0], Key=place[1])["ContentLength"] > 1000
