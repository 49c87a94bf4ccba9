"""Jobs on a real worker: their outputs and their outcomes."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deploy.child import Child
from deploy.local import LocalStack
from producer import Client, Job, Options, Outcome
from tests.support.jobs import run, stored
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture(scope="module")
def usual(client: Client, worker: Child) -> Outcome:
    """Of a photograph and the default model; its mask is `usual.png`."""
    assert worker.running
    return run(client, "s3://photos/chelsea.png", mask="s3://cutouts/usual.png")


def test_a_photograph_becomes_a_cut_out_and_a_mask(client: Client, stack: LocalStack) -> None:
    outcome = run(
        client, "s3://photos/astronaut.png", image="s3://cutouts/a.png", mask="s3://cutouts/m.png"
    )
    assert outcome.state == "done", outcome
    assert outcome.source is not None
    assert (outcome.source.format, outcome.source.mode) == ("PNG", "RGB")
    assert outcome.source.size == (512, 512)
    assert outcome.source.bytes == 791_555
    image, mask = stored(stack, "a.png"), stored(stack, "m.png")
    assert image is not None
    assert mask is not None
    cut, alpha = Image.open(io.BytesIO(image)), Image.open(io.BytesIO(mask))
    assert (cut.mode, cut.size, alpha.mode, alpha.size) == ("RGBA", (512, 512), "L", (512, 512))
    assert np.array_equal(np.asarray(cut)[:, :, 3], np.asarray(alpha))
    # The face is foreground, the corner behind it background.
    assert np.asarray(alpha)[100, 220] > 250
    assert np.asarray(alpha)[20, 500] < 5
    share = float(np.asarray(alpha).mean() / 255)
    assert outcome.foreground_share == pytest.approx(share, abs=1e-5)
    assert outcome.no_foreground is False
    assert outcome.bounding_box == alpha.getbbox()


def test_the_outcome_says_where_the_model_ran_and_how_long_everything_took(
    usual: Outcome,
) -> None:
    outcome = usual
    assert outcome.run is not None
    assert outcome.run.model == "isnet-general-use"
    assert outcome.run.engine == "cutwork"
    assert (outcome.run.provider, outcome.run.device) == ("Winograd", "cpu")
    assert outcome.run.dtype == "float32"
    before, after = {"load", "fetch", "decode", "wait", "prepare"}, {"mask", "edges", "encode"}
    stages = before | {"model"} | after | {"store"}
    stages |= {"total"}
    assert set(outcome.seconds) == stages
    parts = sum(value for name, value in outcome.seconds.items() if name != "total")
    assert parts == pytest.approx(outcome.seconds["total"], rel=0.05, abs=0.05)
    assert re.fullmatch(r"worker\d+@local", outcome.worker or "")
    assert outcome.attempt == 1


def test_outputs_have_the_fingerprint_and_their_content_type(
    client: Client, stack: LocalStack
) -> None:
    options = Options(enabled=False, image_format="webp")
    outcome = run(client, "s3://photos/rocket.jpg", image="s3://cutouts/f.webp", options=options)
    head = stack.s3().head_object(Bucket="cutouts", Key="f.webp")
    assert head["Metadata"] == {
        "cutwork-fingerprint": outcome.fingerprint,
        "cutwork-output": "image",
        "cutwork-source": stack.s3()
        .head_object(Bucket="photos", Key="rocket.jpg")["ETag"]
        .strip('"'),
    }
    assert head["ContentType"] == "image/webp"
    assert outcome.image is not None
    assert head["ETag"].strip('"') == outcome.image.etag
    assert head["ContentLength"] == outcome.image.bytes


def test_the_same_job_is_skipped_and_any_other_is_not(client: Client, stack: LocalStack) -> None:
    def go(**options: Any) -> str:
        return run(
            client,
            "s3://photos/again.png",
            image="s3://cutouts/again.png",
            mask="s3://cutouts/again-mask.png",
            options=Options(enabled=False, **options),
        ).state

    def upload(colour: str) -> None:
        buffer = io.BytesIO()
        Image.new("RGB", (40, 30), colour).save(buffer, "PNG")
        stack.s3().put_object(Bucket="photos", Key="again.png", Body=buffer.getvalue())

    upload("red")
    assert go() == "done"
    assert go() == "skipped"
    assert go(device_mode="cpu") == "skipped"
    assert go(if_exists="overwrite") == "done"
    assert go(threshold=0.5) == "done"
    upload("blue")
    assert go(threshold=0.5) == "done"
    assert go(threshold=0.5) == "skipped"
    stack.s3().delete_object(Bucket="cutouts", Key="again-mask.png")
    assert go(threshold=0.5) == "done"


def test_a_cut_out_is_not_taken_for_the_mask(client: Client) -> None:
    options = Options(enabled=False)
    place = "s3://cutouts/role.png"
    assert run(client, "s3://photos/rocket.jpg", image=place, options=options).state == "done"
    assert run(client, "s3://photos/rocket.jpg", mask=place, options=options).state == "done"
    assert run(client, "s3://photos/rocket.jpg", mask=place, options=options).state == "skipped"


def test_a_failed_job_leaves_no_single_output(client: Client, stack: LocalStack) -> None:
    outcome = run(
        client,
        "s3://photos/rocket.jpg",
        mask="s3://cutouts/half-mask.png",
        image="s3://nowhere-bucket/half.png",
        options=Options(enabled=False),
    )
    assert outcome.code == "bucket_not_found"
    assert stored(stack, "half-mask.png") is None


def test_a_size_beyond_a_format_s_limit_is_refused_before_the_model_runs(
    client: Client, stack: LocalStack
) -> None:
    buffer = io.BytesIO()
    Image.new("L", (16_384, 2)).save(buffer, "PNG")
    stack.s3().put_object(Bucket="photos", Key="wide.png", Body=buffer.getvalue())
    options = Options(image_format="webp")
    outcome = run(client, "s3://photos/wide.png", image="s3://cutouts/wide.webp", options=options)
    assert outcome.code == "option_conflict"
    assert "webp: expected at most 16,383 pixels a side" in (outcome.message or "")
    assert "model" not in outcome.seconds


def test_a_custom_model_from_the_object_store(
    client: Client, stack: LocalStack, isnet_pth: Path, usual: Outcome
) -> None:
    stack.s3().upload_file(str(isnet_pth), "models", "own.pth")
    options = Options(model="s3://models/own.pth")
    outcome = run(client, "s3://photos/chelsea.png", mask="s3://cutouts/own.png", options=options)
    assert outcome.state == "done", outcome
    assert outcome.run is not None
    assert (outcome.run.engine, outcome.run.provider) == ("torch", "torch-cpu")
    assert usual.ok
    masks = []
    for key in ("own.png", "usual.png"):
        data = stored(stack, key)
        assert data is not None
        masks.append(np.asarray(Image.open(io.BytesIO(data))).astype(int))
    assert np.abs(masks[0] - masks[1]).max() <= 1


def message_of(number: int) -> dict[str, Any]:
    return Job.model_validate(
        {
            "source": "s3://photos/rocket.jpg",
            "image": f"s3://cutouts/canvas-{number}.png",
            "options": Options(enabled=False),
        }
    ).to_message()


SERVICE = """
import json, sys
from celery import Celery, chord, signature

app = Celery("service", broker={url!r}, backend={url!r})

@app.task(name="service.keep")
def keep(outcomes):
    outcomes = outcomes if isinstance(outcomes, list) else [outcomes]
    return sorted(outcome["image"]["ref"] for outcome in outcomes)

if __name__ == "__main__":
    jobs = json.loads(sys.argv[1])
    segment = [signature("cutwork.segment", args=[job], queue="cutwork.default") for job in jobs]
    # The worker that ends the first task sends the next one, so it must know the route.
    then = keep.s().set(queue="service")
    print(json.dumps({{
        "chain": (segment[0] | then).apply_async().get(timeout={patience}),
        "chord": chord(segment[1:3])(then).get(timeout={patience}),
        "result": segment[3].apply_async(ignore_result=False).get(timeout={patience}),
    }}))
"""


def test_the_task_composes_in_a_user_s_canvas(stack: LocalStack, tmp_path: Path) -> None:
    """Run a chain and a chord whose other task runs on the user's own worker."""
    script = tmp_path / "service.py"
    script.write_text(SERVICE.format(url=stack.broker_url, patience=PATIENCE))
    child = Child(
        "service",
        [
            *(sys.executable, "-m", "celery", "-A", "service", "worker", "--pool", "solo"),
            *(
                "--queues",
                "service",
                "--loglevel",
                "INFO",
                "--without-gossip",
                "--without-mingle",
                "--without-heartbeat",
            ),
        ],
        log=tmp_path / "service.log",
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    try:
        child.wait_until(lambda: b" ready." in child.log.read_bytes(), timeout=PATIENCE)
        jobs = json.dumps([message_of(number) for number in range(4)])
        command = [sys.executable, str(script), jobs]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 0, done.stderr
    finally:
        child.stop(grace=10)
    results = json.loads(done.stdout)
    assert results["chain"] == ["s3://cutouts/canvas-0.png"]
    assert results["chord"] == ["s3://cutouts/canvas-1.png", "s3://cutouts/canvas-2.png"]
    assert Outcome.model_validate(results["result"]).state == "done"


def test_everything_is_acknowledged_in_the_end(client: Client) -> None:
    status = client.status()
    assert (status.waiting, status.in_flight) == (0, 0)
    assert client.pending() == 0
