"""The watchdog times stages and device calls, and names the jobs that may be why one hangs."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import boto3
import pytest

from producer.contract.s3_uri import ImageRef
from tests.support.tiny_models import channel_mean, loaded
from worker.errors import StageTimeout
from worker.models.activity import (
    Activity,
    find_hang,
    find_overdue_call,
    find_overdue_stage,
    find_stuck,
)
from worker.models.engines.budget import Budget
from worker.models.engines.cache import ModelCache
from worker.models.engines.engine import Engine
from worker.models.files.file_cache import FileCache
from worker.models.files.profile import Profile
from worker.models.files.store import ModelFile
from worker.models.watchdog import Watchdog, restart_clock, waiting
from worker.observability.stopwatch import Stopwatch
from worker.pipeline.storage import S3Storage

LIMIT = 1000.0
"""Seconds, so that no test reaches a limit by being slow."""


def activity(job_id: str | None, *names: str, limit: float = 10, call: str = "") -> Activity:
    """Return what a thread works on that began all of these stages and a call at zero."""
    result = Activity(job_id)
    for name in names:
        seconds = float("inf") if name in ("wait", "model") else limit
        result.begin(name, now=0, limit=seconds, is_call=False)
    if call:
        result.begin(call, now=0, limit=limit, is_call=True)
    return result


def test_a_stage_is_overdue_at_its_limit_and_hangs_at_one_and_a_half_times() -> None:
    slow = activity("a", "checks", "decode")
    assert find_hang([slow], 9) is None
    slow.check()
    assert find_hang([slow], 10) is None
    assert find_overdue_stage([slow]) == "job a: the stage decode"
    assert find_overdue_call([slow], 10) is None
    with pytest.raises(StageTimeout, match="decode to end within 10 s"):
        slow.check()
    hang = find_hang([slow], 15)
    assert hang is not None
    assert hang.jobs == {"a": "decode"}
    assert hang.reason == (
        "job a: the stage decode has not ended within 15 s, 1.5 times CUTWORK_STAGE_TIMEOUT: it "
        "hangs"
    )


def test_a_device_call_hangs_at_its_limit() -> None:
    calling = activity("a", "checks", "load", limit=10, call="loading x on cpu")
    assert find_hang([calling], 9.9) is None
    hang = find_hang([calling], 10)
    assert hang is not None
    assert hang.jobs == {"a": "load"}
    assert hang.reason.startswith("loading x on cpu has not answered for 10 s")
    assert find_overdue_call([calling], 10) == "loading x on cpu"
    assert find_overdue_stage([calling]) is None


def test_only_the_innermost_part_is_timed() -> None:
    """Neither a wait nor a nested stage is at the expense of the stage around it."""
    one = activity("a", "checks", "edges")
    for start, name, end in ((6, "matting", 15), (17, "wait", 10_000)):
        limit = float("inf") if name == "wait" else 10
        one.begin(name, now=start, limit=limit, is_call=False)
        assert find_hang([one], end) is None
        one.check()
        one.end(end)
    assert one.elapsed(10_000) == 8
    assert find_hang([one], 10_001) is None
    one.check()
    assert find_overdue_stage([one]) is None
    assert find_hang([one], 10_002) is None
    assert find_overdue_stage([one]) == "job a: the stage edges"


def test_only_jobs_that_may_be_the_reason_are_suspects() -> None:
    hung = activity("hung", "checks", "decode")
    also = activity("overdue too", "checks", "encode")
    innocent = [
        activity("waits", "checks", "decode", "wait"),
        activity("waits for a model", "checks", "load", "wait"),
        activity("at the model", "checks", "model"),
        activity("slow but allowed", "checks", "store", limit=100),
        activity(None, call="trying out x on cuda:0", limit=100),
    ]
    hang = find_hang([*innocent, also, hung], 15)
    assert hang is not None
    assert hang.jobs == {"hung": "decode", "overdue too": "encode"}


def test_all_jobs_at_the_model_are_suspects_of_a_batch_that_hangs() -> None:
    leader = activity("leader", "checks", "model", call="x, a batch of 2 on cuda:0,")
    follower = activity("follower", "checks", "model")
    innocent = activity("innocent", "checks", "edges", limit=100)
    hang = find_hang([innocent, follower, leader], 10)
    assert hang is not None
    assert hang.jobs == {"leader": "model", "follower": "model"}


def test_stuck_jobs_are_those_that_work_at_one_thing_for_long() -> None:
    activities = [
        activity("stuck", "checks", "decode"),
        activity("in a call", "checks", "model", call="x, a batch of 1 on cpu,"),
        activity("waits", "checks", "decode", "wait"),
        activity("waits for the device", "checks", "model"),
        activity(None, call="trying out x on cuda:0"),
    ]
    assert find_stuck(activities, 4.9, 5) == {}
    assert find_stuck(activities, 5, 5) == {"stuck": "decode", "in a call": "model"}


def test_a_job_ends_before_the_stage_after_an_overdue_one() -> None:
    dog = Watchdog(device_timeout=LIMIT, stage_timeout=LIMIT)
    with dog.job("a") as limit:
        watch = Stopwatch(limit=limit)
        with watch.stage("decode"):
            restart_clock(extra=-1.2 * LIMIT)
            assert dog.stuck_jobs(LIMIT) == {"a": "decode"}
            assert dog.check() is None
            assert dog.overdue_stage() == "job a: the stage decode"
            # Nested stages are not begun either.
            with pytest.raises(StageTimeout, match="the stage decode"), watch.stage("wait"):
                pytest.fail("a stage began")
        with pytest.raises(StageTimeout, match="the stage decode"), watch.stage("encode"):
            pytest.fail("a stage began")
    assert set(watch.seconds()) == {"decode", "total"}
    assert dog.overdue_stage() is None
    with dog.job("b") as limit, limit("decode"):
        assert dog.stuck_jobs(LIMIT) == {}


def test_a_wait_and_progress_do_not_count() -> None:
    dog = Watchdog(device_timeout=LIMIT, stage_timeout=LIMIT)
    with dog.job("a") as limit, limit("load"):
        with waiting():
            restart_clock(extra=-2 * LIMIT)
            assert dog.stuck_jobs(0) == {}
            assert dog.check() is None
        restart_clock(extra=-1.2 * LIMIT)
        restart_clock()
        assert dog.check() is None
        assert dog.overdue_stage() is None
        with limit("prepare"), dog.watch("uploading an image to cuda:0"):
            assert dog.overdue_call() is None


def test_a_job_that_waits_for_the_load_of_another_is_not_timed(tmp_path: Path) -> None:
    dog = Watchdog(device_timeout=LIMIT, stage_timeout=LIMIT)
    go = threading.Event()

    def load(file: ModelFile, device: str) -> Engine:
        go.wait()
        return loaded(file.path)

    budget = Budget(memory=2**40, gpu_memory=2**40, gpu_idle=3600)
    cache = ModelCache(load, budget=budget)
    path = channel_mean(tmp_path / "mean.onnx")
    file = ModelFile(name="mean", path=path, sha256="0", profile=Profile())
    begun = threading.Barrier(3)

    def run(job_id: str) -> None:
        with dog.job(job_id) as limit, limit("load"):
            begun.wait()
            with cache.use(file, "cpu"):
                pass

    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(run, job_id) for job_id in ("a", "b")]
        begun.wait()
        # One of the two loads, and the other comes to wait for it.
        while len(dog.stuck_jobs(0)) != 1:
            time.sleep(0.005)
        go.set()
        for job in jobs:
            job.result()
    assert dog.stuck_jobs(0) == {}


def test_a_job_that_waits_for_another_process_is_not_timed(tmp_path: Path) -> None:
    dog = Watchdog(device_timeout=LIMIT, stage_timeout=LIMIT)
    path, begun = tmp_path / "a.onnx", threading.Event()

    def run() -> None:
        with dog.job("a") as limit, limit("load"):
            begun.set()
            with FileCache(tmp_path).lock(path):
                assert dog.stuck_jobs(0) == {"a": "load"}

    with ThreadPoolExecutor(1) as pool:
        with FileCache(tmp_path).lock(path):
            job = pool.submit(run)
            begun.wait()
            while dog.stuck_jobs(0):
                time.sleep(0.005)
        job.result()


def test_a_request_to_the_object_store_is_timed_by_itself() -> None:
    dog = Watchdog(device_timeout=LIMIT, stage_timeout=LIMIT)
    storage = S3Storage(
        boto3.client("s3", region_name="us-east-1"),
        read_from=[],
        write_to=[],
        models_from=[],
        max_bytes=1,
        patience=LIMIT,
    )
    with dog.job("a") as limit, limit("store"):
        restart_clock(extra=-1.2 * LIMIT)
        with storage.request(ImageRef(bucket="photos", key="a.jpg")):
            assert dog.check() is None
            assert dog.stuck_jobs(-LIMIT / 2) == {}
    assert dog.overdue_stage() is None


def test_outside_a_job_there_is_nothing_to_time() -> None:
    dog = Watchdog(device_timeout=60, stage_timeout=60)
    with ExitStack() as stack:
        stack.enter_context(waiting())
        restart_clock()
        assert dog.stuck_jobs(0) == {}


def test_errors_go_through() -> None:
    dog = Watchdog(device_timeout=60, stage_timeout=60)
    with pytest.raises(ValueError, match="its own"), dog.watch("x"):
        raise ValueError("its own")
    with pytest.raises(ValueError, match="its own"), dog.job("x") as limit, limit("decode"):
        raise ValueError("its own")
    assert dog.stuck_jobs(0) == {}
