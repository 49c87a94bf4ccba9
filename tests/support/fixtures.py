"""Fixtures that start servers or read real weights, once per test process.

Imports are inside the fixtures: unit tests load this module too, and need none of them.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from deploy.child import Child
    from deploy.local import LocalStack
    from producer import Client
    from worker.models.files.store import ModelStore

BUCKETS: Final = ("photos", "cutouts", "models", "private")


@pytest.fixture(scope="session")
def model_cache() -> Path:
    """The user's own model cache, so that a machine fetches the weights once."""
    from worker.config.settings import ModelSettings

    return ModelSettings.read().model_cache


@pytest.fixture(scope="session")
def store(model_cache: Path) -> "ModelStore":
    from worker.models.files.file_cache import FileCache
    from worker.models.files.store import ModelStore

    return ModelStore(FileCache(model_cache), local_paths=True)


@pytest.fixture(scope="session")
def isnet_onnx(store: "ModelStore") -> Path:
    """ISNet's real weights in half precision."""
    return store.resolve("isnet-general-use").path


@pytest.fixture(scope="session")
def isnet_pth(isnet_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights as a PyTorch checkpoint."""
    import torch

    from tests.support.isnet_checkpoint import checkpoint_from_onnx

    path = tmp_path_factory.mktemp("weights") / "isnet.pth"
    torch.save(checkpoint_from_onnx(isnet_onnx), path)
    return path


@pytest.fixture(scope="session")
def photographs() -> Path:
    """The folder of real photographs that scikit-image ships."""
    package = find_spec("skimage")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "data"


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, photographs: Path) -> Iterator["LocalStack"]:
    """A broker and an S3 server with the suite's buckets and a few photographs."""
    from deploy.local import LocalStack

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
def worker(stack: "LocalStack", isnet_onnx: Path) -> "Child":
    """A worker that may read photos, write cut-outs and load models, and nothing else."""
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
def client(stack: "LocalStack") -> Iterator["Client"]:
    with stack.client() as client:
        yield client


@pytest.fixture
def idle(stack: "LocalStack") -> Iterator["Client"]:
    """A producer on a database without workers, emptied for each test."""
    from producer import Client

    with Client(stack.broker_url.removesuffix("/0") + "/1") as client:
        client.runs.server.flushdb()
        yield client
