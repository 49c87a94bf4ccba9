"""Options of `celery -A worker worker` that a worker cannot serve are refused by name."""

import re
from typing import Any

import pytest
from celery.bin.worker import worker
from celery.utils.nodenames import default_nodename

from producer.config.settings import SettingsError
from worker.runtime.start_options import _REFUSED, check_options, unique_node_name

COMMAND = ["celery", "-A", "worker", "worker"]
GOOD: dict[str, Any] = {"concurrency": 4, "queues": None, "autoscale": None, "time_limit": None}


@pytest.mark.parametrize(
    ("options", "arguments", "words"),
    [
        ({"queues": ["shop"]}, [], "-Q .*CUTWORK_TAKES"),
        ({"exclude_queues": ["cutwork.default"]}, [], "-X .*CUTWORK_TAKES"),
        ({"autoscale": (4, 1)}, [], "--autoscale: .*CUTWORK_CONCURRENCY"),
        ({"max_tasks_per_child": 10}, [], "--max-tasks-per-child"),
        ({"max_memory_per_child": 10}, [], "--max-memory-per-child: .*CUTWORK_IMAGE_MEMORY"),
        ({"time_limit": 10.0}, [], "--time-limit: .*CUTWORK_STAGE_TIMEOUT"),
        ({"soft_time_limit": 10.0}, [], "--soft-time-limit: .*CUTWORK_STAGE_TIMEOUT"),
        ({}, ["-P", "gevent"], "-P .*threads, found 'gevent'"),
        ({}, ["-Peventlet"], "-P .*threads, found 'eventlet'"),
        ({}, ["--pool", "solo"], "-P .*threads, found 'solo'"),
        ({}, ["--pool=prefork"], "-P .*threads, found 'prefork'"),
        ({}, ["-P", "threads", "-P", "processes"], "-P .*threads, found 'processes'"),
        ({"concurrency": "auto"}, [], "-c .*from 1 to 1000, found 'auto'"),
        ({"concurrency": 0}, [], "-c .*from 1 to 1000, found 0"),
        ({"concurrency": 1001}, [], "-c .*from 1 to 1000, found 1001"),
    ],
)
def test_an_option_that_cannot_be_served_is_refused(
    options: dict[str, Any], arguments: list[str], words: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        check_options(GOOD | options, COMMAND + arguments)
    assert re.match(words, str(caught.value))


def test_celery_s_command_line_has_the_options() -> None:
    names = {parameter.name for parameter in worker.params}
    assert names >= {*_REFUSED, "concurrency"}


@pytest.mark.parametrize("arguments", [[], ["-P", "threads"], ["--pool=threads"], ["-Pthreads"]])
def test_threads_and_their_number_are_accepted(arguments: list[str]) -> None:
    assert check_options(GOOD | {"concurrency": 7}, COMMAND + arguments) == 7


def test_only_celery_s_default_node_name_gets_the_process_id() -> None:
    default = default_nodename("")
    assert unique_node_name(default, pid=7) == default.replace("celery@", "celery-7@")
    assert unique_node_name(default, pid=1) == default
    assert unique_node_name("celery@elsewhere", pid=7) == "celery@elsewhere"
