"""Every option of the contract is an option of the command lines, under the same name."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from producer.console.option_flags import option_name, takes_options, to_flags
from producer.contract.options import Options

_JOB = Path(__file__).parents[1] / "golden" / "job-v1.json"
GOLDEN: dict[str, Any] = json.loads(_JOB.read_text())["options"]

app = typer.Typer()


@app.command()
@takes_options
def echo(*, options: Options) -> None:
    typer.echo(options.model_dump_json(exclude_defaults=True))


def parsed(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    result: dict[str, Any] = json.loads(done.output)
    return result


def words(name: str, value: object) -> list[str]:
    """Return the arguments that set an option to a value."""
    if isinstance(value, bool):
        return [option_name(name) if value else "--no-" + option_name(name)[2:]]
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return [option_name(name), text]


@pytest.mark.parametrize("name", GOLDEN)
def test_each_option_is_read_from_the_command_line(name: str) -> None:
    # 16 bits need a format that supports them; the golden job has such formats.
    assert parsed(*words(name, GOLDEN[name])) == {name: GOLDEN[name]}


@pytest.mark.parametrize("erosion", [0, 10, "0%", "2.5%"])
def test_an_erosion_is_read_in_pixels_and_in_per_cent(erosion: int | str) -> None:
    options = Options(alpha_matting_erode_size=erosion)
    assert parsed(*to_flags(options)) == {"alpha_matting_erode_size": erosion}


def test_all_options_are_read_together() -> None:
    arguments = [word for name, value in GOLDEN.items() for word in words(name, value)]
    assert parsed(*arguments) == GOLDEN


def test_no_arguments_give_the_default_options() -> None:
    assert parsed() == {}


def test_conflicting_options_are_refused_with_the_reason() -> None:
    done = CliRunner().invoke(app, ["--image-format", "jpeg"])
    assert done.exit_code == 2
    assert "jpeg has no transparency" in " ".join(done.output.replace("│", " ").split())


def test_options_written_as_arguments_are_read_back() -> None:
    options = Options.model_validate(GOLDEN)
    typed = CliRunner().invoke(app, to_flags(options), catch_exceptions=False)
    assert Options.model_validate_json(typed.stdout) == options
    assert to_flags(Options()) == []
