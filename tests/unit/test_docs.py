"""The documentation agrees with the code: commands, variables, paths, codes, links."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import producer
from deploy.reference.__main__ import pages
from deploy.reference.codes import error_types
from deploy.reference.command_line import leaves
from deploy.reference.settings import CELERY_VARIABLES
from producer.cli.main import app
from producer.console.option_flags import option_name
from producer.contract.options import Options
from tests.support.pages import (
    DOCS,
    PAGES,
    ROOT,
    anchors,
    blocks,
    command_lines,
    name_of,
    spans,
    write_examples,
)
from worker import errors
from worker.cli.main import app as worker_app
from worker.config.settings import WorkerSettings

PROGRAMS = {"cutwork": get_command(app), "python -m worker": get_command(worker_app)}
COMMANDS = {
    f"{program} {name}": command
    for program, group in (("cutwork", app), ("python -m worker", worker_app))
    for name, command in leaves(group)
}
LONGEST_FIRST = sorted(COMMANDS, reverse=True)
"""So that `models fetch` is found before `models`."""
RUNBOOKS = DOCS / "operate" / "runbooks.md"
every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


def test_the_generated_parts_are_up_to_date() -> None:
    stale = [name_of(path) for path, text in pages() if path.read_text() != text]
    assert not stale, "run: make reference"


def test_every_variable_of_celeryconfig_is_described() -> None:
    in_celery = set(re.findall(r'"(CUTWORK_\w+)"', (ROOT / "celeryconfig.py").read_text()))
    in_settings = {f"CUTWORK_{name.upper()}" for name in WorkerSettings.model_fields}
    assert in_celery - in_settings == set(CELERY_VARIABLES)


def test_the_error_tree_in_the_docstring_is_correct() -> None:
    drawn = dict(re.findall(r"── (\w+) +([a-z_]+)$", errors.__doc__ or "", flags=re.MULTILINE))
    assert drawn == {item.__name__: item.code for item in error_types()}


def test_every_public_name_is_described() -> None:
    page = (DOCS / "reference" / "python.md").read_text()
    assert not [name for name in producer.__all__ if f"`{name}`" not in page]


@every_page
def test_every_variable_on_a_page_exists(page: Path) -> None:
    known = {f"CUTWORK_{name.upper()}" for name in WorkerSettings.model_fields}
    assert set(re.findall(r"CUTWORK_[A-Z0-9_]+", page.read_text())) <= known | set(CELERY_VARIABLES)


def parse(command: str) -> None:
    """Parse a command of a page as its program does; `…` stands for omitted arguments."""
    words = shlex.split(command.replace("…", ""))
    if words[:3] == ["python", "-m", "worker"]:
        words = ["python -m worker", *words[3:]]
    program, *arguments = words
    item: Any = PROGRAMS[program]
    while arguments and arguments[0] in getattr(item, "commands", {}):
        item = item.commands[arguments.pop(0)]
    assert item is not PROGRAMS[program], f"no such command: {command}"
    item.make_context(command, arguments)


@every_page
def test_every_command_in_a_block_is_accepted_by_its_program(page: Path) -> None:
    for command in command_lines(page, "console", "sh"):
        if command.startswith(("cutwork ", "python -m worker ")):
            parse(command)


def test_commands_that_do_not_exist_are_detected() -> None:
    for command in ("cutwork sink s3://a/ s3://b/", "cutwork sync s3://a/ s3://b/ --masks s3://c/"):
        with pytest.raises(Exception, match=r"no such command|No such option"):
            parse(command)


@every_page
def test_every_command_in_a_sentence_has_the_options_it_names(page: Path) -> None:
    for span in spans(page):
        words = span.split()
        name = next((name for name in LONGEST_FIRST if f"{span} ".startswith(f"{name} ")), None)
        if span.startswith(("cutwork ", "python -m worker ")):
            assert name, f"no such command: {span}"
        if name:
            options = {text for item in COMMANDS[name].params for text in item.opts}
            assert {word for word in words if word.startswith("--")} <= options | {"--help"}, span


@every_page
def test_every_path_of_the_repository_exists(page: Path) -> None:
    folders = "worker|producer|deploy|tests|benchmarks|docs"
    for span in spans(page):
        if re.fullmatch(rf"(?:{folders})/[\w./-]+|celeryconfig\.py", span):
            assert (ROOT / span).exists(), span


@every_page
def test_every_module_and_make_verb_exists(page: Path) -> None:
    text = page.read_text()
    for module in re.findall(r"python -m ((?:benchmarks|deploy|tests)[\w.]+)", text):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
    verbs = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", text, flags=re.MULTILINE)) <= set(verbs)
    parts = (ROOT / "benchmarks" / "bench.py").read_text()
    for part in re.findall(r"make bench ARGS=(\w+)", text):
        assert f'"{part}": ' in parts, part


@every_page
def test_python_blocks_compile(page: Path) -> None:
    for block in blocks(page, "python"):
        compile(block, name_of(page), "exec")


def test_python_blocks_have_no_type_errors(tmp_path: Path) -> None:
    write_examples(tmp_path)
    config = str(ROOT / "pyproject.toml")
    from mypy import api

    report, _, status = api.run(["--config-file", config, *map(str, tmp_path.iterdir())])
    assert status == 0, report


@every_page
def test_no_page_has_placeholders(page: Path) -> None:
    assert not re.findall(r"\b[A-Z]+_(?:TABLE|HERE)\b|\bTODO\b|@@", page.read_text())


@pytest.mark.parametrize("name", ["README.md", "SECURITY.md", "CHANGELOG.md"])
def test_links_of_the_pages_outside_docs_are_valid(name: str) -> None:
    """Sphinx checks the links within `docs/`."""
    for target in re.findall(r"\]\(([^)\s]+)\)", (ROOT / name).read_text()):
        if not target.startswith("https://"):
            path, _, anchor = target.partition("#")
            assert (ROOT / path).exists(), target
            assert not anchor or anchor in anchors(ROOT / (path or name)), target


def test_the_readme_is_short_and_so_is_its_example() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 140
    assert len(blocks(ROOT / "README.md", "python")[0].strip().splitlines()) <= 10


def test_every_row_of_the_fidelity_tables_names_options_and_a_test() -> None:
    page = DOCS / "explanation" / "fidelity.md"
    tables = page.read_text()
    rows = [line for line in tables.splitlines() if "| `tests/" in line]
    tests = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", tables)
    assert len(tests) == len(rows) > 25
    for path, name in tests:
        assert f"\ndef {name}(" in (ROOT / path).read_text(), f"{path}::{name}"
    named = {option for option in re.findall(r"`(--[a-z-]+)", tables) if option != "--preset"}
    assert named <= {option_name(name) for name in Options.model_fields}


def test_the_codes_of_the_runbooks_exist() -> None:
    listed = RUNBOOKS.read_text().partition("## Failure share")[2].partition("**Afterwards**")[0]
    named = {name for name in re.findall(r"`([a-z]+_[a-z_]+)`", listed) if "cutwork" not in name}
    assert named <= {item.code for item in error_types()}
    assert len(named) > 10
