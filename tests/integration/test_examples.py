"""The web services in `docs/how-to/examples/` on a real broker, S3 and worker."""

import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Any

import pytest

from deploy.local import LocalStack
from tests.support.pages import DOCS
from tests.support.patience import PATIENCE


@pytest.fixture
def example(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    monkeypatch.setenv("CUTWORK_BROKER_URL", stack.broker_url)

    def load(name: str) -> ModuleType:
        path = DOCS / "how-to" / "examples" / f"{name}.py"
        spec = spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.mark.usefixtures("worker")
def test_fastapi(stack: LocalStack, example: Callable[[str], ModuleType]) -> None:
    from fastapi.testclient import TestClient

    with TestClient(example("fastapi_app").app) as http:
        submitted = http.post("/cutouts/rocket.jpg")
        assert submitted.status_code == 202
        job = submitted.json()
        outcome = http.get("/cutouts/rocket.jpg", params=job | {"wait": 60}).json()
        assert (outcome["job_id"], outcome["state"]) == (job["job"], "done")
        assert http.get("/cutouts/a", params={"job": "x", "wait": 0.1}).json()["state"] == "pending"
        refused = http.post("/cutouts/" + "a" * 1100)
        assert refused.status_code == 422
        assert "S3 allows 1 to 1024" in refused.json()["detail"]
    assert stack.s3().head_object(Bucket="cutouts", Key="rocket.jpg.png")["ContentLength"] > 1000


def test_fastapi_without_a_broker(
    example: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUTWORK_BROKER_URL", "redis://127.0.0.1:1/0")
    from fastapi.testclient import TestClient

    with TestClient(example("fastapi_app").app) as http:
        refused = http.post("/cutouts/rocket.jpg")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")


@pytest.fixture
def django(example: Callable[[str], ModuleType]) -> Iterator[ModuleType]:
    module = example("django_app")
    yield module
    module.client().close()


@pytest.mark.usefixtures("worker")
def test_django(django: ModuleType) -> None:
    from django.test import Client as Http  # After the example has configured Django.

    http = Http()
    submitted = http.post("/cutouts/chelsea.png")
    assert submitted.status_code == 202
    job = submitted.json()["job"]
    outcome: dict[str, Any] = {"state": "pending"}
    deadline = time.monotonic() + PATIENCE
    while outcome["state"] == "pending" and time.monotonic() < deadline:
        time.sleep(0.1)
        outcome = http.get(f"/outcomes/{job}/chelsea.png").json()
    assert (outcome["job_id"], outcome["state"]) == (job, "done")
    assert http.get("/outcomes/x/chelsea.png").json() == {"job_id": "x", "state": "pending"}
    assert http.post("/cutouts/" + "a" * 1100).status_code == 422
    assert http.get("/cutouts/chelsea.png").status_code == 405
