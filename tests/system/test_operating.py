"""The operator's guide names variables, commands, codes and sections that are there."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from producer.cli.main import app
from worker import errors
from worker.cli.main import app as worker_app
from worker.config.settings import WorkerSettings

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "operating.md").read_text()
PAGES = [GUIDE, (ROOT / "docs" / "protocol.md").read_text()]
SPANS = [span for page in PAGES for span in re.findall(r"`([^`\n]+)`", page)]


def test_every_variable_is_one() -> None:
    known = {f"CUTWORK_{name.upper()}" for name in WorkerSettings.model_fields}
    known |= set(re.findall(r'"(CUTWORK_\w+)"', (ROOT / "celeryconfig.py").read_text()))
    assert {name for page in PAGES for name in re.findall(r"CUTWORK_\w+", page)} <= known


@pytest.mark.parametrize(
    ("prefix", "commands"),
    [
        ("cutwork ", get_command(app).commands),  # type: ignore[attr-defined]  # groups
        ("python -m worker ", get_command(worker_app).commands),  # type: ignore[attr-defined]
    ],
)
def test_every_command_and_its_options_are_there(prefix: str, commands: dict[str, object]) -> None:
    found = [span.removeprefix(prefix) for span in SPANS if span.startswith(prefix)]
    assert len(found) > 3
    for words in map(str.split, found):
        assert words[0] in commands, words
        options = {name for item in commands[words[0]].params for name in item.opts}  # type: ignore[attr-defined]
        assert {word for word in words if word.startswith("--")} <= options, words


def test_every_module_and_part_of_the_benchmarks_is_there() -> None:
    for module in re.findall(r"python -m (benchmarks\.\w+|deploy\.\w+)", "".join(PAGES)):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
    parts = (ROOT / "benchmarks" / "bench.py").read_text()
    for part in re.findall(r"make bench ARGS=(\w+)", GUIDE):
        assert f'"{part}": ' in parts, part


def test_every_code_is_one() -> None:
    codes = {item.code for item in vars(errors).values() if hasattr(item, "code")}
    listed = GUIDE.partition("## Failure share")[2].partition("**Afterwards**")[0]
    named = set(re.findall(r"`([a-z]+_[a-z_]+)`", listed))
    assert {name for name in named if not name.startswith("cutwork_")} <= codes
    assert len(named & codes) > 10


@pytest.mark.parametrize(
    "title",
    [
        *("Backlog too old", "Failure share", "GPU idle with backlog", "Worker restarts"),
        *("Poison", "Broker down", "Exporter absent"),
    ],
)
def test_every_alert_has_its_runbook(title: str) -> None:
    _, _, rest = GUIDE.partition(f"\n## {title}\n")
    assert "**Look**" in rest.partition("\n## ")[0]


def test_links_within_the_page_lead_somewhere() -> None:
    titles = re.findall(r"^#+ (.+)$", GUIDE, flags=re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([^)]+)\)", GUIDE)) <= anchors


def test_nothing_is_left_to_be_filled_in() -> None:
    assert "@@" not in GUIDE
