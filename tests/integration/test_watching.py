"""The pages of a real worker: metrics, liveness and readiness."""

import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from deploy.local import LocalStack
from deploy.reference.metrics import worker_metrics
from producer import Client, Job, Options
from producer.contract.s3_uri import ImageRef
from producer.store.deliveries import delivery_key
from tests.support.jobs import run
from tests.support.patience import PATIENCE
from tests.support.tiny_models import channel_mean, endless
from tests.support.watched import Watched
from worker.models.process_end import EXIT_CODE
from worker.observability.gpu_metrics import METRICS as GPU_METRICS

Start = Callable[..., Watched]


@pytest.fixture
def start(stack: LocalStack, idle: Client) -> Iterator[Start]:
    """Return a function that starts a worker on the idle broker."""
    with ExitStack() as ending:

        def started(**variables: str) -> Watched:
            watched = Watched(stack, **{"CUTWORK_BROKER_URL": idle.broker_url, **variables})
            ending.callback(watched.child.stop, grace=0)
            return watched

        yield started


def test_jobs_are_counted(stack: LocalStack, idle: Client, start: Start, tmp_path: Path) -> None:
    names = ("watch/a.onnx", 'watch/b"} 1.onnx')
    for name, side in zip(names, (16, 32), strict=True):
        model = channel_mean(tmp_path / f"{side}.onnx", axes=(1, 3, side, side))
        stack.s3().upload_file(str(model), "models", name)
    watched = start(
        CUTWORK_MODELS_FROM="s3://models",
        CUTWORK_MODEL_CACHE=str(tmp_path / "cache"),
        CUTWORK_IMAGE_MEMORY="800000000",
    )
    watched.until("/readyz", 200)
    photograph, place = "s3://photos/rocket.jpg", "s3://cutouts/watched.png"
    again = Options(if_exists="overwrite")
    done = run(idle, photograph, image=place, options=again)
    assert (done.state, run(idle, photograph, image=place).state) == ("done", "skipped")
    assert run(idle, "s3://photos/none.jpg", image=place).code == "source_not_found"
    for name in names:
        own = Options(model=f"s3://models/{name}", if_exists="overwrite")
        assert run(idle, photograph, image=place, options=own).state == "done"
    # A job of a run that another worker had begun.
    job = Job(
        id="20261123-081500-3fa9c1.x",
        source=ImageRef(bucket="photos", key="rocket.jpg"),
        image=ImageRef(bucket="cutouts", key="watched-2.png"),
        submitted_at=time.time() + 3600,
    )
    idle.runs.server.hset(delivery_key(job.id), mapping={"number": "1", "at": "0"})
    idle.submit_many([job])
    watched.child.wait_until(
        lambda: watched.samples()["cutwork_images_total"]["", "done"] == 4, timeout=PATIENCE
    )
    samples = watched.samples()
    assert samples["cutwork_images_total"] == {
        ("", "done"): 4,
        ("", "skipped"): 1,
        ("", "cancelled"): 0,
        ("source_not_found", "failed"): 1,
    }
    assert samples["cutwork_image_seconds_count"] == {(): 4}
    assert samples["cutwork_image_seconds_sum"][()] > done.seconds["total"]
    stages = samples["cutwork_stage_seconds_count"]
    assert {name for (name,) in stages} == set(done.seconds) - {"total"}
    assert (stages["fetch",], stages["model",]) == (6, 4)
    assert samples["cutwork_queue_wait_seconds_count"] == {("single",): 5}
    assert samples["cutwork_redeliveries_total"] == {(): 1}
    assert samples["cutwork_batch_images_count"] == {("cpu",): 4}
    # Names from messages are not used as labels.
    assert samples["cutwork_model_loads_total"] == {("isnet-general-use",): 1, ("custom",): 2}
    assert samples["cutwork_model_cache_hits_total"] == {("isnet-general-use",): 1}
    assert "watch/" not in watched.get("/metrics").text
    assert done.source is not None
    assert done.image is not None
    moved = samples["cutwork_bytes_total"]
    assert moved["read",] == 4 * (done.source.bytes or 0)
    assert moved["written",] > done.image.bytes
    assert samples["cutwork_jobs_running"] == {(): 0}
    assert samples["cutwork_image_memory_bytes"] == {(): 0}
    assert samples["cutwork_image_memory_limit_bytes"] == {(): 800_000_000}
    assert samples["cutwork_worker_draining"] == {(): 0}
    assert [labels[:2] for labels in samples["cutwork_worker_info"]] == [("cpu", "cutwork.default")]
    assert samples["process_start_time_seconds"][()] > time.time() - 600
    described(watched.get("/metrics").text)
    assert watched.get("/").status == 404


def described(text: str) -> None:
    """The generated table of metrics has what is exposed."""
    exposed = {
        (family.name + "_total" * (family.type == "counter"), family.documentation)
        for family in text_string_to_metric_families(text)
        if family.name.startswith("cutwork_")
    }
    table = re.findall(r"^\| `(cutwork_\w+)` \| (.*?) \| ", worker_metrics(), re.MULTILINE)
    assert exposed == set(table) - set(GPU_METRICS.items())


def test_a_worker_is_ready_once_its_models_are_loaded(start: Start) -> None:
    """The port answers before that; the model is the real one."""
    watched = start(app="worker", CUTWORK_PRELOAD="isnet-general-use")
    loads = {"ok": False, "found": "loads isnet-general-use"}
    # Before, it reads its settings.
    while watched.until("/readyz", 503).checks["start"] != loads:
        time.sleep(0.05)
    assert watched.get("/healthz").status == 200
    after = watched.until("/readyz", 200)
    assert {name: check["ok"] for name, check in after.checks.items()} == dict.fromkeys(
        ("start", "drain", "broker", "device", "stages", "loop"), True
    )
    assert watched.samples()["cutwork_model_loads_total"] == {("isnet-general-use",): 1}
    # The server does not keep the process from ending.
    watched.child.signal(signal.SIGTERM)
    assert watched.child.wait(PATIENCE) == 0


def test_a_worker_that_shuts_down_is_live_and_not_ready(
    idle: Client, start: Start, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    watched = start(CUTWORK_STANDIN_UNTIL=str(gate))
    watched.until("/readyz", 200)
    idle.submit("s3://photos/rocket.jpg", image=f"s3://cutouts/{time.time()}.png")
    watched.child.wait_until(
        lambda: watched.samples()["cutwork_image_memory_bytes"][()] > 0, timeout=PATIENCE
    )
    assert watched.samples()["cutwork_jobs_running"] == {(): 1}
    watched.child.signal(signal.SIGTERM)
    answer = watched.until("/readyz", 503)
    assert answer.checks["drain"] == {"ok": False, "found": "takes no more jobs"}
    assert watched.get("/healthz").status == 200
    samples = watched.samples()
    assert samples["cutwork_worker_draining"] == {(): 1}
    assert samples["cutwork_image_memory_bytes"][()] > 0
    gate.touch()
    assert watched.child.wait(PATIENCE) == 0


def test_without_a_broker_a_worker_is_live_and_not_ready(
    stack: LocalStack, tmp_path: Path, start: Start
) -> None:
    with LocalStack(tmp_path) as own:
        broker = own.start_broker()
        watched = start(CUTWORK_BROKER_URL=own.broker_url)
        watched.until("/readyz", 200)
        broker.signal(signal.SIGKILL)
        answer = watched.until("/readyz", 503)
        assert answer.checks["broker"] == {"ok": False, "found": "does not answer"}
        assert watched.get("/healthz").status == 200
        own.restart_broker()
        watched.until("/readyz", 200)
        watched.child.stop(grace=0)


def test_a_device_that_hangs_fails_liveness(
    stack: LocalStack, idle: Client, start: Start, tmp_path: Path
) -> None:
    stack.s3().upload_file(str(endless(tmp_path / "endless.onnx")), "models", "watch/endless.onnx")
    watched = start(
        CUTWORK_MODELS_FROM="s3://models",
        CUTWORK_MODEL_CACHE=str(tmp_path / "cache"),
        CUTWORK_DEVICE_TIMEOUT="2",
    )
    watched.until("/readyz", 200)
    options = Options(model="s3://models/watch/endless.onnx")
    idle.submit("s3://photos/rocket.jpg", mask="s3://cutouts/endless.png", options=options)
    failures = []
    while watched.child.running:
        answer = watched.get("/healthz")
        failures += [answer.checks["device"]["found"]] if answer.status == 503 else []
        time.sleep(0.02)
    assert watched.child.wait(PATIENCE) == EXIT_CODE
    # None if the process ended between two probes; `test_health` has the check itself.
    assert set(failures) <= {
        "s3://models/watch/endless.onnx, a batch of 1 on cpu, has not answered in time"
    }


def test_a_port_in_use_is_refused_at_start(stack: LocalStack, idle: Client, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        child = stack.start_worker(
            CUTWORK_BROKER_URL=idle.broker_url, CUTWORK_METRICS_PORT=str(port)
        )
        assert child.wait(PATIENCE) == 1
    expected = f"cutwork: CUTWORK_METRICS_PORT={port}: expected a free port of 127.0.0.1 "
    assert expected in child.tail()
    assert "Traceback" not in child.tail()
