"""The queue of a job, the queues of a worker, and jobs that are sent on to another queue."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest

from deploy.child import Child
from deploy.local import LocalStack
from producer import Client, Job, Options
from producer.config.settings import SettingsError
from producer.contract.s3_uri import ImageRef
from producer.store.routes import Routes
from tests.support.patience import PATIENCE
from tests.support.runs import until
from worker.broker.consumed_queues import select_queues
from worker.errors import GpuNoDriver

RUN = "20261122-081500-3fa9c1.x"
GPU = Options(device_mode="require_gpu")
NO_GPU = GpuNoDriver("no driver")


@pytest.fixture
def app(idle: Client, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An app with every job class and two tenants."""
    monkeypatch.setenv("CUTWORK_CLASSES", "bulk, gpu,large")
    monkeypatch.setenv("CUTWORK_TENANTS", "shop,lab")
    with Client(idle.broker_url) as client:
        yield client.app


def job(options: Options | None = None, **facts: Any) -> Job:
    return Job(
        source=ImageRef(bucket="photos", key="chelsea.png"),
        mask=ImageRef(bucket="cutouts", key="routed.png"),
        options=options or Options(),
        **facts,
    )


@pytest.mark.parametrize(
    ("facts", "queue"),
    [
        ({}, "cutwork.default"),
        ({"id": RUN}, "cutwork.bulk"),
        ({"options": GPU}, "cutwork.gpu"),
        ({"options": GPU, "id": RUN}, "cutwork.gpu-bulk"),
        ({"options": Options(device_mode="prefer_gpu")}, "cutwork.default"),
        ({"tenant": "lab"}, "cutwork.default.lab"),
        ({"tenant": "lab", "id": RUN, "options": GPU}, "cutwork.gpu-bulk.lab"),
        ({"tenant": "nobody", "id": RUN}, "cutwork.bulk"),
    ],
)
def test_class_and_tenant_decide_the_queue_of_a_job(
    app: Any, facts: Mapping[str, Any], queue: str
) -> None:
    assert Routes.from_app(app).queue_for(job(**facts)) == queue


@pytest.mark.parametrize("facts", [{}, {"id": RUN}, {"options": GPU}, {"tenant": "lab"}])
def test_without_classes_there_is_one_queue(idle: Client, facts: Mapping[str, Any]) -> None:
    routes = Routes.from_app(idle.app)
    assert routes.queue_for(job(**facts)) == "cutwork.default"
    assert routes.larger_queue(job(**facts)) is None
    assert list(routes.lists_by_queue()) == ["cutwork.default"]
    # A process with more classes may have sent a job there, so these are searched too.
    assert {"cutwork.default", "cutwork.default:3", "cutwork.large:3"} < set(routes.all_lists())


@pytest.mark.parametrize(
    ("classes", "no_gpu", "expected"),
    [
        ((), None, {"default", "bulk", "gpu", "gpu-bulk"}),
        ((), NO_GPU, {"default", "bulk"}),
        (("large",), NO_GPU, {"large"}),
        (("gpu", "default"), None, {"default", "gpu"}),
    ],
)
def test_a_worker_takes_the_classes_that_it_can_process_or_those_named(
    app: Any, classes: tuple[str, ...], no_gpu: GpuNoDriver | None, expected: set[str]
) -> None:
    names = select_queues(Routes.from_app(app).requirements, classes=classes, no_gpu=no_gpu)
    assert {name.split(".")[1] for name in names} == expected
    assert {name.split(".")[2] for name in names if name.count(".") == 2} == {"shop", "lab"}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("gpu", "CUTWORK_TAKES=gpu: no driver"), ("huge", "CUTWORK_TAKES: expected some of bulk, ")],
)
def test_naming_a_class_that_a_worker_cannot_process_is_an_error(
    app: Any, name: str, sentence: str
) -> None:
    with pytest.raises(SettingsError, match=sentence):
        select_queues(Routes.from_app(app).requirements, classes=[name], no_gpu=NO_GPU)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("CUTWORK_CLASSES", "huge"), ("CUTWORK_TENANTS", "a b"), ("CUTWORK_TENANT", "A")],
)
def test_an_invalid_name_is_an_error_that_names_the_variable(
    idle: Client, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=variable):
        Client(idle.broker_url)


@pytest.fixture
def start(stack: LocalStack, idle: Client) -> Iterator[Callable[..., Child]]:
    """Return a function that starts a worker with separate queues, whose model only sleeps."""
    with ExitStack() as ending:

        def started(**variables: Any) -> Child:
            child = stack.start_worker(
                app="benchmarks.standin",
                CUTWORK_STANDIN="sleep",
                CUTWORK_STANDIN_LOG="/dev/null",
                CUTWORK_BROKER_URL=idle.broker_url,
                CUTWORK_CLASSES="gpu,large",
                **variables,
            )
            ending.callback(child.stop, grace=5)
            stack.wait_for_worker(child)
            return child

        yield started


def test_a_job_that_a_worker_cannot_process_is_sent_on(
    idle: Client, start: Callable[..., Child]
) -> None:
    """A GPU job waits for a GPU worker; a large image is cut out by a worker with higher limits."""
    small = start(CUTWORK_TAKES="default", CUTWORK_MAX_PIXELS="10000")
    assert "takes from cutwork.default\n" in small.log.read_text()
    # This producer is configured without classes, so it sends both to the default queue.
    large, gpu = idle.submit_many([job(), job(GPU)])
    server = idle.runs.server
    until(lambda: server.llen("cutwork.large:3") and server.llen("cutwork.gpu:3"))
    assert large.outcome() is None
    large_worker = start(CUTWORK_TAKES="large")
    outcome = large.wait(PATIENCE)
    assert idle.served_queues() == {"cutwork.default", "cutwork.large"}
    assert (outcome.state, outcome.worker) == ("done", f"{large_worker.name}@local")
    assert gpu.outcome() is None
    assert server.llen("cutwork.gpu:3") == 1


def test_an_image_too_large_for_every_worker_fails(
    idle: Client, start: Callable[..., Child]
) -> None:
    start(CUTWORK_TAKES="default,large", CUTWORK_MAX_PIXELS="10000")
    (handle,) = idle.submit_many([job(Options(if_exists="overwrite"))])
    assert handle.wait(PATIENCE).code == "image_too_large"


def test_two_pools_do_not_send_a_job_to_each_other_for_ever(
    idle: Client, start: Callable[..., Child]
) -> None:
    """One has no GPU, the other too low limits; each knows a queue that could process the job."""
    start(CUTWORK_TAKES="default", CUTWORK_MAX_PIXELS="10000")
    (handle,) = idle.submit_many([job(Options(device_mode="require_gpu", if_exists="overwrite"))])
    server = idle.runs.server
    until(lambda: server.llen("cutwork.gpu:3"))
    # As a GPU worker would, for which the image is too large every time.
    for _ in range(10):
        server.rename("cutwork.gpu:3", "cutwork.default:3")
        until(lambda: server.llen("cutwork.gpu:3") or handle.outcome())
        if outcome := handle.outcome():
            break
    assert outcome is not None
    assert outcome.code == "gpu_no_driver"
