"""One real worker processes every hostile file in time and keeps running."""

import http.server
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import boto3
import numpy as np
import pytest
from botocore.config import Config

from benchmarks.peak_memory import peak_memory
from deploy.child import Child
from deploy.local import LocalStack
from producer import Client, Job, Options, Outcome
from producer.contract.s3_uri import ImageRef
from tests.support.hostile.corpus import corpus
from tests.support.hostile.file import HostileFile
from tests.support.patience import PATIENCE
from tests.support.tiny_models import channel_mean
from worker.config.access import AllowedPrefix
from worker.errors import CutworkError, SourceTooLarge
from worker.imaging.decode import open_image
from worker.pipeline.storage import S3Storage

STAGE_SECONDS = 60
"""A file that holds one stage for longer ends as `stage_timeout`, which is acceptable for none.
`make hostile` measures the processor time of each file."""
MEMORY = 700 * 2**20
"""The largest growth in bytes of the worker's memory after its start, with four jobs at once."""
CONCURRENCY = 4
PLAIN = Options(enabled=False)
"""The image is decoded and passed through; a model would not test more."""


@pytest.fixture(scope="module")
def own_worker(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    """A worker with its own database, so that only these jobs use its memory."""
    path = channel_mean(tmp_path_factory.mktemp("model") / "tiny.onnx")
    stack.s3().upload_file(str(path), "models", "hostile.onnx")
    child = stack.start_worker(
        concurrency=CONCURRENCY,
        CUTWORK_BROKER_URL=broker_url(stack),
        CUTWORK_MODELS_FROM="s3://models",
        CUTWORK_MODEL_CACHE=str(tmp_path_factory.mktemp("cache")),
        CUTWORK_STAGE_TIMEOUT=str(STAGE_SECONDS),
    )
    stack.wait_for_worker(child)
    yield child
    child.stop(grace=10)


@pytest.fixture(scope="module")
def memory_when_ready(own_worker: Child) -> int:
    return peak_memory(own_worker.pid)


@pytest.fixture(scope="module")
def outcomes(
    stack: LocalStack, own_worker: Child, memory_when_ready: int
) -> Mapping[str, tuple[HostileFile, Outcome]]:
    """Each file and its outcome, by name."""
    s3 = stack.s3()
    with ThreadPoolExecutor(8) as threads:
        sent = threads.map(
            lambda file: s3.put_object(Bucket="photos", Key=f"hostile/{file.name}", Body=file.data),
            corpus(),
        )
        list(sent)
    model = Options(model="s3://models/hostile.onnx")
    jobs = {
        file.name: Job(
            source=f"s3://photos/hostile/{file.name}",
            mask=f"s3://cutouts/hostile/{file.name}.png",
            options=model if file.name.startswith(("misnamed", "polyglot")) else PLAIN,
        )
        for file in corpus()
    }
    with Client(broker_url(stack)) as client:
        handles = client.submit_many(jobs.values())
        ended = {
            handle.job.id: outcome
            for handle, outcome in client.as_completed(handles, timeout=PATIENCE)
        }
    return {file.name: (file, ended[jobs[file.name].id]) for file in corpus()}


def test_there_are_files_of_every_kind() -> None:
    assert len(corpus()) >= 300
    kinds = {file.name.partition("/")[0] for file in corpus()}
    assert kinds >= {
        "truncated",
        "flipped",
        "misnamed",
        "polyglot",
        "exif",
        "tiff",
        "jpeg",
        "iso",
        "icc",
    }


def test_each_file_has_an_acceptable_outcome(
    outcomes: Mapping[str, tuple[HostileFile, Outcome]],
) -> None:
    wrong = {
        name: (outcome.code, outcome.message)
        for name, (file, outcome) in outcomes.items()
        if (outcome.code or outcome.state) not in file.ends
    }
    assert not wrong


def test_the_worker_survives_within_its_memory_bound(
    outcomes: Mapping[str, tuple[HostileFile, Outcome]], own_worker: Child, memory_when_ready: int
) -> None:
    assert outcomes
    assert own_worker.running
    assert peak_memory(own_worker.pid) - memory_when_ready < MEMORY


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_each_file_gives_a_picture_or_an_error_with_sixteen_bits(suffix: str) -> None:
    """Another library reads files with 16 bits."""
    for file in corpus():
        if file.name.endswith(suffix):
            with suppress(CutworkError):
                assert (
                    open_image(file.data, max_pixels=30_000_000).decode(depth=np.uint16).rgb.ndim
                    == 3
                )


def test_two_gigabytes_are_refused_by_their_length_and_not_read() -> None:
    length, written = 2 * 10**9, 0

    class Endless(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            nonlocal written
            self.send_response(200)
            self.send_header("Content-Length", str(length))
            self.send_header("ETag", '"endless"')
            self.send_header("Last-Modified", "Sun, 22 Nov 2026 08:00:00 GMT")
            self.end_headers()
            self.connection.settimeout(20)
            try:
                while written < length:
                    written += self.connection.send(bytes(2**16))
            except (ConnectionError, TimeoutError):
                return

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Endless) as server:
        serving = threading.Thread(target=server.handle_request)
        serving.start()
        client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{server.server_port}",
            aws_access_key_id="key",
            aws_secret_access_key="secret",
            region_name="us-east-1",
            config=Config(retries={"total_max_attempts": 1}, proxies={}),
        )
        anywhere = [AllowedPrefix.parse("*")]
        storage = S3Storage(
            client, read_from=anywhere, write_to=anywhere, models_from=(), max_bytes=2**29
        )
        with pytest.raises(SourceTooLarge, match="found 2,000,000,000"):
            storage.open(ImageRef.parse("s3://photos/endless.jpg"))
        serving.join(30)
    # The server has sent no more than the socket buffers hold.
    assert written < 2**25


def broker_url(stack: LocalStack) -> str:
    return stack.broker_url.removesuffix("/0") + "/5"
