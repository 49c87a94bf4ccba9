"""The README says what is so: its tables are the code's own, and its commands work as written."""

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from deploy.local import LocalStack
from producer.cli.main import app
from producer.console.option_flags import option_name
from producer.contract.options import Options
from worker import errors
from worker.config.settings import WorkerSettings
from worker.models.files.catalogue import catalogue
from worker.models.files.profile import Profile

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.split("  #")[0].strip()
    for block in re.findall(r"```console\n(.*?)```", README, flags=re.DOTALL)
    for line in block.splitlines()
]


def rows(first: str) -> dict[str, list[str]]:
    """The table rows whose first cell holds a code span that begins with `first`."""
    cells = [line.strip("|").split(" | ") for line in README.splitlines() if line.startswith("| `")]
    found = {row[0].strip().strip("`"): [cell.strip() for cell in row[1:]] for row in cells}
    return {name: row for name, row in found.items() if name.startswith(first)}


def test_every_option_is_described_as_it_describes_itself() -> None:
    described = {name: row[1] for name, row in rows("--").items()}
    sync = get_command(app).commands["sync"]  # type: ignore[attr-defined]  # it is a group
    assert described == {
        item.opts[0]: item.help for item in sync.params if item.opts[0].startswith("--")
    }
    assert described.items() >= {
        (option_name(name), field.description) for name, field in Options.model_fields.items()
    }


def test_every_variable_is_described_with_its_default() -> None:
    table = rows("CUTWORK_")
    fields = WorkerSettings.model_fields
    for name, field in fields.items():
        default, description = table.pop(f"CUTWORK_{name.upper()}")
        assert description == field.description
        if field.is_required():
            assert default == "required"
        elif field.default_factory is None and field.default not in (None, ()):
            assert default == f"`{field.default}`"
    in_celery = set(re.findall(r'"(CUTWORK_\w+)"', (ROOT / "celeryconfig.py").read_text()))
    assert set(table) == in_celery - {f"CUTWORK_{name.upper()}" for name in fields}


def test_every_row_of_the_fidelity_tables_names_options_and_a_test_that_are_there() -> None:
    tables = (ROOT / "docs" / "fidelity.md").read_text()
    found = re.findall(r"`(tests/test_\w+\.py)::(test_\w+)`", tables)
    rows = [line for line in tables.splitlines() if "| `tests/" in line]
    assert len(found) == len(rows) > 25
    for path, name in found:
        assert f"\ndef {name}(" in (ROOT / path).read_text(), f"{path}::{name}"
    named = {option for option in re.findall(r"`(--[a-z-]+)", tables) if option != "--preset"}
    assert named <= {option_name(name) for name in Options.model_fields}


def tree() -> dict[str, type[errors.CutworkError]]:
    """Every error with a code of its own, by name."""
    return {
        name: item
        for name, item in vars(errors).items()
        if isinstance(item, type) and issubclass(item, errors.CutworkError) and "code" in vars(item)
    }


def test_every_error_code_is_described() -> None:
    codes = {item.code: (item.__doc__ or "").splitlines()[0] for item in tree().values()}
    found = {name: row[0] for name, row in rows("").items() if name in codes}
    assert found == codes
    assert len(codes) > 20


def test_the_error_tree_in_the_docstring_is_the_tree() -> None:
    drawn = dict(re.findall(r"── (\w+) +([a-z_]+)$", errors.__doc__ or "", flags=re.MULTILINE))
    assert drawn == {name: item.code for name, item in tree().items()}


def test_the_table_of_models_is_the_catalogue() -> None:
    table = rows("")
    for name, entry in catalogue().items():
        assert entry.profile.sides is not None
        assert table[name] == [
            entry.licence + (", to be accepted" if entry.restricted else ""),
            "" if entry.bytes is None else f"{entry.bytes / 1e6:.0f}",
            "{}×{}".format(*entry.profile.sides),
            entry.about,
        ]


def test_every_field_of_a_profile_is_described() -> None:
    table = rows("")
    for name, field in Profile.model_fields.items():
        default = "none" if field.default is None else f"`{json.dumps(field.default)}`"
        assert table[name] == [default, field.description]


def test_the_backend_example_is_at_most_ten_lines() -> None:
    block = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)[0]
    assert len(block.strip().splitlines()) <= 10


@pytest.mark.usefixtures("worker")
def test_the_python_examples_run(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first two as written but for the buckets; the third needs an app of one's own."""
    monkeypatch.setenv("CUTWORK_BROKER_URL", stack.broker_url)
    first, many, canvas = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    first = first.replace("s3://shop/photos/a.jpg", "s3://photos/rocket.jpg")
    exec(first.replace("s3://shop/", "s3://cutouts/"), {})  # noqa: S102 - our own README
    assert capsys.readouterr().out == "done\n"
    many = many.replace("s3://shop/{n}.jpg", "s3://photos/none-{n}.jpg").replace("100", "3")
    names: dict[str, Any] = {}
    exec(many.replace("s3://shop/", "s3://cutouts/"), names)  # noqa: S102 - likewise
    assert capsys.readouterr().out.count("failed source_not_found") == 3
    with stack.client() as client:
        places = ("s3://photos/rocket.jpg", "s3://cutouts/example.png")
        assert asyncio.run(names["cut_out"](client, *places)) == "done"
    assert compile(canvas, "README", "exec")


def test_nothing_is_left_to_be_filled_in() -> None:
    assert not re.findall(r"\b[A-Z]+_(?:TABLE|HERE)\b|\bTODO\b", README)


def test_the_make_verbs_exist() -> None:
    listed = subprocess.run(
        ["make", "-C", str(ROOT)], capture_output=True, text=True, check=True
    ).stdout
    for verb in re.findall(r"(?:^|`)make ([\w-]+)", README, flags=re.MULTILINE):
        assert re.search(rf"^{verb}\s", listed, flags=re.MULTILINE), verb


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    "command",
    [item for item in COMMANDS if item.startswith(("cutwork ", "python -m worker "))],
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
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_worker_s_command_is_the_one_that_is_tested() -> None:
    (command,) = (item for item in COMMANDS if item.startswith("celery "))
    started = (ROOT / "deploy" / "local.py").read_text()
    for word in command.split()[1:]:
        assert f'"{word}"' in started
