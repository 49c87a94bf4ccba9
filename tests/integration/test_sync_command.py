"""`cutwork sync`, `runs`, `follow` and `cancel` with a real broker, S3 and worker."""

import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from deploy.local import LocalStack, own_environment
from producer import Client
from producer.cli.main import app
from producer.contract.run import Failure, RunSpec
from producer.store.publish import publish
from producer.store.runs import Batch
from tests.support.broken_files import broken_files
from tests.support.runs import answer, feeder_of, feeding, plan_of, until, waiting


@pytest.fixture
def environment(stack: LocalStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> LocalStack:
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return stack


@pytest.fixture
def idle_client(environment: LocalStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A producer for a database that no worker uses."""
    url = environment.broker_url.removesuffix("/0") + "/2"
    monkeypatch.setenv("CUTWORK_BROKER_URL", url)
    with Client(url) as client:
        client.runs.server.flushdb()
        yield client


def cutwork(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def events(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def put(stack: LocalStack, prefix: str, photographs: Path) -> dict[str, str]:
    """Upload two photographs and ten broken files; return the error codes of the latter."""
    rocket = (photographs / "rocket.jpg").read_bytes()
    with Image.open(photographs / "astronaut.png") as image:
        buffer = io.BytesIO()
        image.resize((64, 64)).save(buffer, "PNG")
    broken = broken_files(jpeg=rocket, png=buffer.getvalue())
    files = {name: data for name, (data, _) in broken.items()}
    files |= {"good/rocket.jpg": rocket, "good/astronaut.png": buffer.getvalue()}
    for name, data in files.items():
        stack.s3().put_object(Bucket="photos", Key=prefix + name, Body=data)
    return {name: code for name, (_, code) in broken.items()}


@pytest.mark.usefixtures("worker")
def test_photographs_and_broken_files(
    environment: LocalStack, photographs: Path, tmp_path: Path
) -> None:
    broken = put(environment, "sync/", photographs)
    command = ["sync", "s3://photos/sync/", "s3://cutouts/sync/", "--mask", "s3://cutouts/masks/"]
    result = cutwork(*command, "--json", "--report", str(tmp_path / "report"))
    assert result.exit_code == 1
    failures = {
        event["source"].removeprefix("s3://photos/sync/"): event["code"]
        for event in events(result)
        if event["event"] == "failure"
    }
    assert failures == broken
    end = events(result)[-1]
    assert (end["event"], end["state"]) == ("end", "finished")
    assert [Path(path).name for path in end["report"]] == [
        *("report.json", "failures.jsonl", "report.html")
    ]
    assert end["again"].startswith("cutwork sync --manifest ")
    assert end["seconds"] >= end["run_seconds"] > 0
    assert {event["event"] for event in events(result)} <= {"failure", "progress", "note", "end"}
    counts = end["counts"]
    assert (counts["seen"], counts["sent"], counts["done"], counts["failed"]) == (12, 12, 2, 10)
    objects = environment.s3().list_objects_v2(Bucket="cutouts", Prefix="sync/")["Contents"]
    assert [item["Key"] for item in objects] == [
        "sync/good/astronaut.png",
        "sync/good/rocket.png",
    ]
    assert environment.s3().head_object(Bucket="cutouts", Key="masks/good/rocket.png")

    (folder,) = (tmp_path / "report").iterdir()
    report = json.loads((folder / "report.json").read_text())
    assert report["counts"]["failed"] == 10
    assert "data:image" in (folder / "report.html").read_text()
    lines = (folder / "failures.jsonl").read_text().splitlines()
    assert {Failure.model_validate_json(line).code for line in lines} == set(failures.values())

    repeated = cutwork(*command)
    assert repeated.exit_code == 0
    assert "nothing to do: 12 inputs, 2 up to date" in repeated.stdout
    assert "10 known to be unreadable" in repeated.stdout

    manifest = cutwork("sync", "--manifest", str(folder / "failures.jsonl"), "--json")
    assert manifest.exit_code == 1
    assert events(manifest)[-1]["counts"]["failed"] == 10

    rocket = environment.s3().get_object(Bucket="photos", Key="sync/good/rocket.jpg")["Body"]
    time.sleep(1.1)  # Modification times have whole seconds.
    environment.s3().put_object(Bucket="photos", Key="sync/good/rocket.jpg", Body=rocket.read())
    touched = cutwork(*command, "--json")
    assert touched.exit_code == 0
    assert events(touched)[-1]["counts"]["skipped"] == 1
    assert "nothing to do" in cutwork(*command).stdout

    environment.s3().put_object(
        Bucket="photos", Key="sync/text.jpg", Body=(photographs / "rocket.jpg").read_bytes()
    )
    replaced = cutwork(*command, "--json")
    assert replaced.exit_code == 0
    assert events(replaced)[-1]["counts"]["done"] == 1


@pytest.mark.usefixtures("worker")
def test_jobs_of_a_cancelled_run_do_not_start(client: Client) -> None:
    feeder = feeder_of(client, plan_of(*["send"] * 20))
    batch = Batch(cursor="")
    feeder._fill_batch(batch, feeder.plan(""), 20)
    feeder._begin_run(batch)
    run = str(feeder.run)
    assert client.runs.commit_batch(run, batch, before="")
    client.runs.end(run, "cancelled")
    publish(client.app, batch.jobs)
    until(lambda: client.runs.in_flight(run) == 0)
    counts = client.runs.summary(run).counts
    assert (counts.cancelled, counts.failed, counts.done) == (20, 0, 0)


@pytest.mark.usefixtures("worker")
def test_a_malformed_message_is_counted_for_its_run(client: Client) -> None:
    feeder = feeder_of(client, plan_of("send"))
    batch = Batch(cursor="")
    feeder._fill_batch(batch, feeder.plan(""), 1)
    feeder._begin_run(batch)
    run = str(feeder.run)
    assert client.runs.commit_batch(run, batch, before="")
    message = batch.jobs[0].to_message() | {"version": 99}
    client.app.send_task(
        "cutwork.segment", args=[message], task_id=batch.jobs[0].id, ignore_result=True
    )
    until(lambda: client.runs.in_flight(run) == 0)
    (failure,) = client.runs.record(run).failures
    assert failure.code == "malformed_message"
    assert str(failure.source) == "s3://photos/in/0.jpg"
    client.runs.end(run, "cancelled")


def test_a_dry_run_sends_nothing(
    environment: LocalStack, idle_client: Client, photographs: Path
) -> None:
    put(environment, "dry/", photographs)
    command = ["sync", "s3://photos/dry/", "s3://cutouts/dry/", "--include", "*.jpg", "--dry-run"]
    result = cutwork(*command)
    assert result.exit_code == 0
    assert "would send 7 of 12 inputs" in result.stdout
    assert "s3://photos/dry/empty.jpg → s3://cutouts/dry/empty.png" in result.stdout
    assert "unknown: no earlier run" in result.stdout
    figures = json.loads(cutwork(*command, "--json", "--limit", "2").stdout)
    assert figures["counts"]["send"] == 2
    assert len(figures["inputs"]) == figures["seen"]
    assert waiting(idle_client) == []
    assert idle_client.runs.runs() == []


def test_runs_are_listed_followed_and_cancelled(idle_client: Client) -> None:
    assert "no runs yet" in cutwork("runs").stdout
    feeder = feeder_of(idle_client, plan_of("send", "send", "conflicting"))
    with feeding(feeder):
        until(lambda: len(waiting(idle_client)) == 2)
        run = str(feeder.run)
        assert "fed by" in cutwork("runs").stdout
        answer(idle_client, 1)
    assert "interrupted" in cutwork("runs").stdout
    (listed,) = json.loads(cutwork("runs", "--json").stdout)
    assert (listed["id"], listed["counts"]["done"], listed["fed_by"]) == (run, 1, None)
    cancelled = cutwork("cancel", run)
    assert cancelled.exit_code == 0
    assert "1 queued jobs will not start" in cancelled.stdout
    followed = cutwork("follow", run)
    assert followed.exit_code == 1  # The run was cancelled.
    assert "name_conflict s3://photos/in/2.jpg" in followed.stdout
    assert "cancelled: 1 done" in followed.stdout
    assert cutwork("cancel", run).exit_code == 3
    written = cutwork("report", run, "somewhere")
    assert written.exit_code == 0
    assert "report.html" in written.stdout
    assert json.loads(Path(f"somewhere/{run}/report.json").read_text())["state"] == "cancelled"
    unknown = cutwork("follow", "20200101-000000-abcdef")
    assert unknown.exit_code == 2
    assert "`cutwork runs` lists them" in unknown.stderr


def test_a_detached_run_continues_alone(
    environment: LocalStack, idle_client: Client, photographs: Path
) -> None:
    put(environment, "detached/", photographs)
    command = ["sync", "s3://photos/detached/", "s3://cutouts/detached/"]
    started = subprocess.run(
        [sys.executable, "-m", "producer", *command, "--detach", "--json"],
        env={
            **own_environment(),
            **environment.environment(),
            "CUTWORK_BROKER_URL": idle_client.broker_url,
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    run = json.loads(started.stdout)["run"]
    until(lambda: len(waiting(idle_client)) == 12)
    other = cutwork("follow", run, "--json") if answer(idle_client, 12) else None
    assert other
    assert events(other)[-1]["counts"]["done"] == 12
    assert idle_client.runs.summary(run).state == "finished"


def test_a_manifest_with_bad_lines_sends_nothing(idle_client: Client, tmp_path: Path) -> None:
    manifest = tmp_path / "some.csv"
    manifest.write_text(
        "source,image\ns3://photos/a.jpg,s3://cutouts/a.png\nno place,s3://cutouts/b.png\n"
    )
    refused = cutwork("sync", "--manifest", str(manifest))
    assert refused.exit_code == 2
    assert "line 3:" in refused.stderr
    assert refused.stdout == ""
    assert "1 invalid lines, and nothing was sent" in refused.stderr
    assert waiting(idle_client) == []
    result = cutwork("sync", "--manifest", str(manifest), "--skip-bad-lines", "--dry-run")
    assert "would send 1 of 1 inputs" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "expected a source"),
        (["s3://photos/in/"], "expected a prefix for cut-outs"),
        (["photos/in/", "s3://cutouts/out/"], "expected s3://bucket"),
        (["s3://photos/in/", "s3://photos/in/"], "expected a prefix other than the source's"),
        (["s3://photos/in/", "s3://cutouts/out/", "--name", "{stem}.png"], "{parent}"),
        (["s3://photos/in/", "s3://cutouts/out/", "--since", "soon"], "--since: expected"),
        (["s3://photos/in/", "s3://cutouts/out/", "--manifest", __file__], "leave out IN, OUT"),
        (["--manifest", __file__, "--exclude", "*", "--since", "7d"], "out --exclude, --since"),
        (["s3://photos/in/", "s3://cutouts/out/", "--skip-bad-lines"], "expected --manifest"),
        (["--manifest", "nowhere.csv"], "nowhere.csv: cannot be read"),
        (["--manifest", "-", "--detach"], "cannot read a manifest from"),
        (["s3://no-such-bucket-here/in/", "s3://cutouts/out/"], "expected a bucket"),
    ],
)
def test_invalid_arguments_are_refused_before_anything_is_sent(
    idle_client: Client, arguments: list[str], sentence: str
) -> None:
    result = cutwork("sync", *arguments)
    assert result.exit_code == 2
    assert not Path("cutwork-runs").exists()
    assert sentence in result.stderr
    assert idle_client.runs.runs() == []


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("is_dry", [True, False])
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--model", "u2nettp"], "unknown_model: model: expected one of"),
        (["--model", "birefnet-general", "--model-sha256", "0" * 64], "model_hash_mismatch: "),
        (["--model", "rmbg-1.4"], "licence_not_accepted: model rmbg-1.4 is under"),
        (["--model", "s3://models/x.zip"], "model_invalid: model s3://models/x.zip"),
    ],
)
def test_workers_refuse_a_run_before_anything_is_sent(
    environment: LocalStack, client: Client, options: list[str], sentence: str, is_dry: bool
) -> None:
    before = [record.id for record in client.runs.runs()]
    place = ["s3://photos/refused/", "s3://cutouts/refused/"]
    result = cutwork("sync", *place, *options, *["--dry-run"] * is_dry)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert "nothing was sent" in result.stderr
    assert [record.id for record in client.runs.runs()] == before


def test_an_unknown_model_is_refused_without_workers(idle_client: Client) -> None:
    command = ["sync", "s3://photos/in/", "s3://cutouts/out/", "--model", "u2nettp"]
    assert "did you mean u2netp?" in cutwork(*command, "--dry-run").stderr
    assert cutwork(*command).exit_code == 2
    assert idle_client.runs.runs() == []


def test_the_next_command_writes_the_report_that_a_killed_one_did_not(
    environment: LocalStack, idle_client: Client, tmp_path: Path
) -> None:
    place = str(tmp_path / "reports")
    spec = RunSpec(source="s3://photos/none-here/", image="s3://cutouts/out/")
    run = idle_client.runs.begin(spec, command="cutwork sync")
    idle_client.runs.expect_report(run, place)
    assert idle_client.runs.end(run, "finished")  # And then the process was killed.
    command = ["sync", "s3://photos/none-here/", "s3://cutouts/out/"]
    result = cutwork(*command)
    assert result.exit_code == 0
    assert f"run {run} ended without a report, which is written now" in result.stdout
    assert (tmp_path / "reports" / run / "report.json").exists()
    assert not (tmp_path / "cutwork-runs").exists()
    assert run not in cutwork(*command).stdout
