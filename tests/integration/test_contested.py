"""Two jobs write to the same destinations at once: the outputs of one of them stay."""

import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from PIL import Image

from deploy.local import LocalStack
from producer import Job, Options, Outcome
from producer.contract.output_metadata import FINGERPRINT
from producer.contract.s3_uri import ImageRef
from tests.integration.test_storage import storage_with
from tests.support.patience import PATIENCE
from tests.system.chaos.s3_proxy import Hold, Refuse, S3Proxy
from worker.config.settings import ModelSettings
from worker.errors import OutputsContested, StorageUnavailable
from worker.models.files.store import ModelStore
from worker.pipeline.factory import open_limits, open_models
from worker.pipeline.job import Pipeline

SOURCE = ImageRef(bucket="photos", key="contested.png")


@pytest.fixture(scope="module")
def slow(stack: LocalStack) -> Iterator[S3Proxy]:
    """A proxy that can delay the object store."""
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(buffer, "PNG")
    stack.s3().put_object(Bucket=SOURCE.bucket, Key=SOURCE.key, Body=buffer.getvalue())
    with S3Proxy(int(stack.s3_url.rpartition(":")[2])) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def pipeline(stack: LocalStack, slow: S3Proxy, store: ModelStore) -> Pipeline:
    settings = ModelSettings.read()
    return Pipeline(
        storage=storage_with(stack, endpoint=f"http://127.0.0.1:{slow.port}"),
        models=open_models(settings, store),
        limits=open_limits(settings),
    )


def job(name: str, **options: object) -> Job:
    return Job(
        source=SOURCE,
        image=ImageRef(bucket="cutouts", key=f"{name}/image.png"),
        mask=ImageRef(bucket="cutouts", key=f"{name}/mask.png"),
        options=Options.model_validate({"enabled": False, **options}),
    )


def fingerprints(stack: LocalStack, name: str) -> list[str]:
    heads = [
        stack.s3().head_object(Bucket="cutouts", Key=f"{name}/{part}.png")
        for part in ("image", "mask")
    ]
    return [head["Metadata"][FINGERPRINT] for head in heads]


@contextmanager
def between_its_outputs(
    slow: S3Proxy, pipeline: Pipeline, name: str, *, final: bool = False
) -> Iterator[Callable[[], Outcome]]:
    """Stop a job between its mask and its cut-out; the yielded function lets it finish."""
    hold = Hold()
    with (
        slow.failing(hold, "PUT", place=f"cutouts/{name}/image", times=1),
        ThreadPoolExecutor(1) as thread,
    ):
        running = thread.submit(pipeline.run, job(name), final=final)
        assert hold.reached.wait(PATIENCE)

        def go_on() -> Outcome:
            hold.released.set()
            return running.result(PATIENCE)

        yield go_on


def test_the_last_writer_notices_a_mixture(
    stack: LocalStack, slow: S3Proxy, pipeline: Pipeline
) -> None:
    with between_its_outputs(slow, pipeline, "mixed") as go_on:
        # Meanwhile another job writes both.
        assert pipeline.run(job("mixed", threshold=0.5)).state == "done"
        with pytest.raises(OutputsContested, match="another one"):
            go_on()
    image, mask = fingerprints(stack, "mixed")
    assert image != mask
    # Its next attempt writes both.
    again = pipeline.run(job("mixed"))
    assert again.state == "done"
    assert fingerprints(stack, "mixed") == [again.fingerprint] * 2


def test_the_next_sync_sends_what_stayed_contested(
    stack: LocalStack, slow: S3Proxy, pipeline: Pipeline
) -> None:
    with between_its_outputs(slow, pipeline, "last", final=True) as go_on:
        mask_alone = job("last", threshold=0.5).model_copy(update={"image": None})
        assert pipeline.run(mask_alone).state == "done"
        outcome = go_on()
    assert (outcome.state, outcome.code) == ("failed", "outputs_contested")
    # A plan compares what is there: the cut-out is missing.
    listing = stack.s3().list_objects_v2(Bucket="cutouts", Prefix="last/")
    assert [item["Key"] for item in listing["Contents"]] == ["last/mask.png"]


@pytest.mark.parametrize("final", [True, False])
def test_a_failed_job_leaves_no_single_output(
    stack: LocalStack, slow: S3Proxy, pipeline: Pipeline, final: bool
) -> None:
    name = f"half-{final}"
    with slow.failing(Refuse(503, "SlowDown"), "PUT", place=f"cutouts/{name}/image"):
        if final:
            assert pipeline.run(job(name)).code == "storage_unavailable"
        else:
            with pytest.raises(StorageUnavailable):
                pipeline.run(job(name), final=False)
    listing = stack.s3().list_objects_v2(Bucket="cutouts", Prefix=f"{name}/")
    assert listing["KeyCount"] == (0 if final else 1)


def test_the_same_job_twice_at_once_is_done_twice_with_the_same_result(
    stack: LocalStack, slow: S3Proxy, pipeline: Pipeline
) -> None:
    with between_its_outputs(slow, pipeline, "twice") as go_on:
        second = pipeline.run(job("twice"))
        assert (go_on().state, second.state) == ("done", "done")
    assert fingerprints(stack, "twice") == [second.fingerprint] * 2
