"""The commands and examples of the README and of the pages in `docs/` work as written."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.local import LocalStack
from tests.support.pages import DOCS, ROOT, blocks, command_lines
from tests.support.patience import PATIENCE

README = ROOT / "README.md"
ONE_IMAGE = DOCS / "how-to" / "one-image.md"
RUN = [
    *(README, DOCS / "start" / "quickstart.md", DOCS / "start" / "install.md"),
    DOCS / "how-to" / "models.md",
]
"""The pages whose `console` blocks are run here; `sh` blocks need buckets of your own."""


@pytest.mark.usefixtures("worker")
def test_the_python_examples_run(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The examples run as written, except for the buckets."""
    monkeypatch.setenv("CUTWORK_BROKER_URL", stack.broker_url)
    (example,) = blocks(README, "python")
    first, many, *_ = blocks(ONE_IMAGE, "python")
    assert first == example
    first = first.replace("s3://shop/photos/a.jpg", "s3://photos/rocket.jpg")
    exec(first.replace("s3://shop/", "s3://cutouts/"), {})  # noqa: S102 - our own page
    assert capsys.readouterr().out == "done\n"
    many = many.replace("s3://shop/{n}.jpg", "s3://photos/none-{n}.jpg").replace("100", "3")
    names: dict[str, Any] = {}
    exec(many.replace("s3://shop/", "s3://cutouts/"), names)  # noqa: S102 - our own page
    assert capsys.readouterr().out.count("failed source_not_found") == 3
    with stack.client() as client:
        refs = ("s3://photos/rocket.jpg", "s3://cutouts/example.png")
        assert asyncio.run(names["cut_out"](client, *refs)) == "done"


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    "command",
    [
        command
        for page in RUN
        for command in command_lines(page, "console")
        if command.startswith(("cutwork ", "python -m worker "))
    ],
)
def test_the_commands_work_as_written(
    command: str, stack: LocalStack, tmp_path: Path, photographs: Path
) -> None:
    (tmp_path / "demo-out").mkdir()
    for name in ("coffee.png", "rocket.jpg"):
        photograph = photographs / name
        stack.s3().upload_file(str(photograph), "photos", name)
        copy = tmp_path / "demo-out" / f"{photograph.stem}-original{photograph.suffix}"
        copy.write_bytes(photograph.read_bytes())
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=tmp_path,
        env=os.environ | stack.environment() | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_worker_s_command_is_the_one_that_is_tested() -> None:
    started = (ROOT / "deploy" / "local.py").read_text()
    pages = (DOCS / "operate" / "deploy.md", DOCS / "reference" / "cli.md")
    commands = [line for page in pages for line in command_lines(page, "console")]
    (command,) = {line for line in commands if line.startswith("celery ")}
    for word in command.split()[1:]:
        assert f'"{word}"' in started
