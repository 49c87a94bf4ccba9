"""Invalid input on a real worker: an error code, a sentence, no output, and the worker survives."""

import secrets
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from deploy.child import Child
from deploy.local import LocalStack
from producer import Client, Options, Outcome
from producer.contract.job import QUEUE, TASK_NAME
from producer.store.ledger import Ledger
from tests.support.jobs import run, stored
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.usefixtures("worker")


def png_of(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


@pytest.fixture(scope="module")
def bad_objects(stack: LocalStack, photographs: Path) -> None:
    photograph = (photographs / "rocket.jpg").read_bytes()
    objects = {
        "bad/empty.jpg": b"",
        "bad/truncated.jpg": photograph[: len(photograph) // 2],
        "bad/page.jpg": b"<html>no image</html>",
        "bad/huge.png": png_of(60_000, 60_000),
        "bad/heavy.png": b"\0" * 20_000_001,
    }
    for key, data in objects.items():
        stack.s3().put_object(Bucket="photos", Key=key, Body=data)
    stack.s3().put_object(Bucket="models", Key="broken.onnx", Body=b"no model")
    stack.s3().put_object(Bucket="models", Key="code.pth", Body=b"cos\nsystem\n(S'true'\ntR.")


REFUSALS: list[tuple[str, dict[str, Any], str, list[str]]] = [
    ("s3://photos/missing.jpg", {}, "source_not_found", ["expected an object, found none"]),
    ("s3://no-such-bucket/a.jpg", {}, "forbidden", ["s3://photos", "CUTWORK_READ_FROM"]),
    ("s3://private/a.jpg", {}, "forbidden", ["s3://private/a.jpg"]),
    ("s3://photos/rocket.jpg", {"image": "s3://private/a.png"}, "forbidden", ["CUTWORK_WRITE_TO"]),
    (
        "s3://photos/rocket.jpg",
        {"image": "s3://nowhere-bucket/a.png", "mask": None, "options": Options(enabled=False)},
        "bucket_not_found",
        ["nowhere-bucket"],
    ),
    ("s3://photos/bad/empty.jpg", {}, "empty_source", ["0 bytes"]),
    ("s3://photos/bad/truncated.jpg", {}, "corrupt_image", ["JPEG of 640×427", "cut short"]),
    ("s3://photos/bad/page.jpg", {}, "not_an_image", ["expected one of JPEG", "<html>no"]),
    ("s3://photos/bad/huge.png", {}, "image_too_large", ["CUTWORK_MAX_PIXELS", "3,600,000,000"]),
    ("s3://photos/bad/heavy.png", {}, "source_too_large", ["20,000,000 bytes", "20,000,001"]),
    (
        "s3://photos/rocket.jpg",
        {"options": Options(model="u3net")},
        "unknown_model",
        ["expected one of isnet-general-use", "'u3net'"],
    ),
    *(
        (
            "s3://photos/rocket.jpg",
            {"options": Options(model=name)},
            "forbidden",
            ["within CUTWORK_MODELS_FROM", repr(name)],
        )
        for name in (
            *("/etc/passwd", "file:///etc/passwd", "../isnet.onnx", "models/isnet.onnx"),
            *("http://127.0.0.1:1/a.onnx", "S3://models/a.onnx", "C:\\a.onnx", "~/a.onnx"),
        )
    ),
    (
        "s3://photos/rocket.jpg",
        {"options": Options(model="s3://models/missing.onnx")},
        "unknown_model",
        ["expected an object, found none"],
    ),
    (
        "s3://photos/rocket.jpg",
        {"options": Options(model="s3://private/own.onnx")},
        "forbidden",
        ["CUTWORK_MODELS_FROM"],
    ),
    (
        "s3://photos/rocket.jpg",
        {"options": Options(model="s3://models/broken.onnx")},
        "model_invalid",
        ["is not an ONNX model"],
    ),
    (
        "s3://photos/rocket.jpg",
        {"options": Options(model="s3://models/code.pth")},
        "model_invalid",
        [".pth"],
    ),
    (
        "s3://photos/rocket.jpg",
        {"options": Options(model_sha256="0" * 64)},
        "model_hash_mismatch",
        ["expected SHA-256 000", "found b6e8497"],
    ),
    (
        "s3://photos/rocket.jpg",
        {"options": Options(size=640)},
        "option_conflict",
        ["takes 1024×1024 only", "ask for 640×640"],
    ),
    (
        "s3://photos/rocket.jpg",
        {"options": Options(device_mode="require_gpu")},
        "gpu_no_driver",
        ["device_mode=require_gpu: expected an NVIDIA driver", "install"],
    ),
]


@pytest.mark.usefixtures("bad_objects")
@pytest.mark.parametrize(
    ("source", "arguments", "code", "parts"), REFUSALS, ids=[f"{r[2]}-{r[0]}" for r in REFUSALS]
)
def test_invalid_input_gives_a_code_and_a_sentence_and_no_output(
    client: Client,
    stack: LocalStack,
    worker: Child,
    source: str,
    arguments: dict[str, Any],
    code: str,
    parts: list[str],
) -> None:
    places = {"image": "s3://cutouts/refused.png", "mask": "s3://cutouts/refused-mask.png"}
    outcome = run(client, source, **places | arguments)
    assert (outcome.state, outcome.code) == ("failed", code), outcome.message
    assert outcome.message is not None
    for part in parts:
        assert part in outcome.message
    assert outcome.image is None
    assert outcome.mask is None
    assert stored(stack, "refused.png") is None
    assert stored(stack, "refused-mask.png") is None
    assert worker.running


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ([None], "found None"),
        ([{}], "source: field required"),
        (["s3://photos/a.jpg"], "found 's3://photos/a.jpg'"),
        ([], "expected one argument, the job; found 0"),
        ([{}, {}], "expected one argument, the job; found 2"),
        ([{"source": "s3://photos/a", "image": "s3://cutouts/a", "version": 9}], "found 9"),
        (
            [{"source": "s3://photos/a", "image": "s3://cutouts/a", "options": {"threshold": 7}}],
            "options.threshold: input should be less than or equal to 1, found 7",
        ),
    ],
)
def test_a_malformed_message_is_refused_and_recorded(
    own_app: Celery, stack: LocalStack, worker: Child, args: list[Any], sentence: str
) -> None:
    sent = own_app.send_task(TASK_NAME, args=args, queue=QUEUE)
    outcome = wait_for(stack, str(sent.id))
    assert (outcome.state, outcome.code) == ("failed", "malformed_message")
    assert outcome.message is not None
    assert sentence in outcome.message
    assert worker.running


def test_a_malformed_job_is_recorded_under_the_job_s_own_id(
    own_app: Celery, stack: LocalStack
) -> None:
    job = {"id": "my-own-id", "source": "nonsense", "image": "s3://cutouts/a"}
    own_app.send_task(TASK_NAME, args=[job], queue=QUEUE)
    assert wait_for(stack, "my-own-id").code == "malformed_message"


@pytest.mark.parametrize("field", ["source", "image", "mask"])
@pytest.mark.parametrize(
    "place",
    [
        *("http://169.254.169.254/latest/meta-data", "https://photos/a.jpg", "S3://photos/a.jpg"),
        *("file:///etc/passwd", "/etc/passwd", "../a.jpg", "\\\\host\\share\\a.jpg"),
    ],
)
def test_an_address_outside_s3_is_forbidden_and_logged_with_the_sender_s_job_id(
    own_app: Celery, stack: LocalStack, worker: Child, place: str, field: str
) -> None:
    job = {"source": "s3://photos/a.jpg", "image": "s3://cutouts/a", "mask": "s3://cutouts/b"}
    name = f"foreign-{secrets.token_hex(4)}"
    own_app.send_task(TASK_NAME, args=[{**job, field: place, "id": name}], queue=QUEUE)
    outcome = wait_for(stack, name)
    assert (outcome.state, outcome.code) == ("failed", "forbidden")
    assert f"{field}: a worker reads and writes s3://bucket/key" in (outcome.message or "")
    worker.wait_until(lambda: f"job {name} failed: forbidden: " in worker.tail(), timeout=PATIENCE)


def test_a_forbidden_prefix_is_logged_with_the_sender_s_job_id(
    client: Client, worker: Child
) -> None:
    handle = client.submit("s3://private/a.jpg", image="s3://cutouts/a.png")
    assert handle.wait(PATIENCE).code == "forbidden"
    line = f"job {handle.id} failed: forbidden: 's3://private/a.jpg"
    worker.wait_until(lambda: line in worker.tail(), timeout=PATIENCE)


@pytest.fixture
def own_app(stack: LocalStack) -> Celery:
    """The Celery app of a service, which knows only the name of the task."""
    return Celery("service", broker=stack.broker_url, set_as_current=False)


def wait_for(stack: LocalStack, job_id: str) -> Outcome:
    return Ledger(stack.broker_url).read_outcomes([job_id], wait=PATIENCE)[job_id]
