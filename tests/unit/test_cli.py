"""The `cutwork` command where it needs no server: help, version, and wrong commands."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from producer.cli.main import app
from producer.cli.run_reports import check_report_place


def cutwork(*arguments: str, **env: str) -> Result:
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200", **env}, catch_exceptions=False)


def test_the_version() -> None:
    assert cutwork("--version").stdout.startswith("cutwork 0.")


@pytest.mark.parametrize("command", [[], ["submit"], ["sync"], ["status"], ["follow"], ["report"]])
def test_both_options_show_the_help(command: list[str]) -> None:
    short, long = cutwork(*command, "-h"), cutwork(*command, "--help")
    assert short.exit_code == long.exit_code == 0
    assert short.stdout == long.stdout


def test_completion_is_offered() -> None:
    assert "--install-completion" in cutwork("--help").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["unknown"],
        ["--unknown"],
        ["sync", "--unknown"],
        ["sync"],
        ["sync", "s3://photos/in/"],
        ["sync", "photos", "s3://cutouts/"],
        ["sync", "s3://photos/in/", "s3://photos/in/"],
        ["sync", "s3://photos/in/", "s3://cutouts/", "--since", "soon"],
        ["sync", "s3://photos/in/", "s3://cutouts/", "--name", "{stem}"],
        ["sync", "s3://photos/in/", "s3://cutouts/", "--include", "!x"],
        ["sync", "s3://photos/in/", "s3://cutouts/", "--limit", "0"],
        ["sync", "s3://photos/in/", "s3://cutouts/", "--size", "1"],
        ["sync", "s3://photos/in/", "s3://cutouts/", "--skip-bad-lines"],
        ["sync", "s3://photos/in/", "s3://cutouts/", "--report", __file__],
        ["sync", "--manifest", "nowhere.csv"],
        ["sync", "--manifest", "-", "--detach"],
        ["submit", "s3://photos/a.jpg"],
        ["submit", "a.jpg", "b.png"],
        ["submit", "s3://photos/a.jpg", "s3://cutouts/a.png", "--threshold", "2"],
        ["report"],
        ["report", "20261122-081500-3fa9c1", __file__],
        ["report", "20261122-081500-3fa9c1", "s3://"],
        ["exporter", "--port", "-1"],
    ],
)
def test_a_wrong_command_exits_with_2(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = cutwork(*arguments)
    assert done.exit_code == 2
    assert done.stderr
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("command", ["status", "runs", "doctor", "sync"])
def test_a_wrong_variable_exits_with_2(command: str) -> None:
    done = cutwork(command, CUTWORK_BROKER_URL="http://x")
    assert done.exit_code == 2
    assert "CUTWORK_BROKER_URL: expected a URL that begins with redis://" in done.stderr


def test_a_place_that_cannot_be_looked_at_is_judged_by_the_folder_above_it(tmp_path: Path) -> None:
    check_report_place(f"{tmp_path}/{'x' * 300}/report")
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ValueError, match=r"found that .*file is not a folder"):
        check_report_place(f"{file}/{'x' * 300}")
