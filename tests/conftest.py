"""Real servers, real weights, real photographs, one of each for the whole session."""

import os
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import skimage.data
import torch

from deploy.child import Child
from deploy.local import LocalStack
from producer import Client
from tests.support.isnet_checkpoint import checkpoint_from_onnx
from worker.config.settings import ModelSettings
from worker.models.files.file_cache import FileCache
from worker.models.files.store import ModelStore

BUCKETS = ("photos", "cutouts", "models", "private")


@pytest.fixture(scope="session", autouse=True)
def _own_environment() -> Iterator[None]:
    """The suite must not reach a broker or bucket that the caller's shell is set up for."""
    kept = ("CUTWORK_MODEL_CACHE", "CUTWORK_MODEL_MIRROR")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("CUTWORK_", "AWS_")) and name not in kept:
                patch.delenv(name)
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


@pytest.fixture(autouse=True)
def _own_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command run in this process must not leave its S3 credentials to the next test."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)


@pytest.fixture(scope="session")
def model_cache() -> Path:
    """The user's own cache, so that the weights are fetched once a machine."""
    return ModelSettings.read().model_cache


@pytest.fixture(scope="session")
def store(model_cache: Path) -> ModelStore:
    return ModelStore(FileCache(model_cache), local_paths=True)


@pytest.fixture(scope="session")
def isnet_onnx(store: ModelStore) -> Path:
    """The real weights, half precision."""
    return store.find("isnet-general-use").path


@pytest.fixture(scope="session")
def isnet_pth(isnet_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights as a checkpoint for torch."""
    path = tmp_path_factory.mktemp("weights") / "isnet.pth"
    torch.save(checkpoint_from_onnx(isnet_onnx), path)
    return path


@pytest.fixture(scope="session")
def photographs() -> Path:
    """A folder of real photographs."""
    return Path(skimage.data.__file__).parent


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, photographs: Path) -> Iterator[LocalStack]:
    """A broker and an S3 with the buckets of the suite and a few photographs."""
    with LocalStack(tmp_path_factory.mktemp("stack")) as stack:
        stack.start_broker()
        stack.start_s3()
        s3 = stack.s3()
        for bucket in BUCKETS:
            s3.create_bucket(Bucket=bucket)
        for name in ("astronaut.png", "chelsea.png", "rocket.jpg"):
            s3.upload_file(str(photographs / name), "photos", name)
        yield stack


@pytest.fixture(scope="session")
def worker(stack: LocalStack, isnet_onnx: Path) -> Child:
    """A worker that may read photos, write cutouts and load models, and nothing else."""
    assert isnet_onnx.is_file()
    child = stack.start_worker(
        concurrency=3,
        CUTWORK_READ_FROM="s3://photos",
        CUTWORK_WRITE_TO="s3://cutouts, s3://nowhere-bucket",
        CUTWORK_MODELS_FROM="s3://models",
        CUTWORK_PRELOAD="isnet-general-use",
        CUTWORK_MAX_BYTES="20000000",
    )
    stack.wait_for_worker(child)
    return child


@pytest.fixture(scope="session")
def client(stack: LocalStack) -> Iterator[Client]:
    with stack.client() as client:
        yield client


@pytest.fixture
def idle(stack: LocalStack) -> Iterator[Client]:
    """A producer for a database without workers, emptied for each test."""
    with Client(stack.broker_url.removesuffix("/0") + "/1") as client:
        client.runs.server.flushdb()
        yield client
