"""The options of `celery -A worker worker`: what a worker cannot serve is refused by name.

Celery would accept these options and ignore them, or end somewhere in the middle of its start.
"""

import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from celery.utils.nodenames import default_nodename, nodename

from producer.config.settings import SettingsError

_MAX_CONCURRENCY: Final = 1000
_REFUSED: Final = {
    "queues": "-Q (--queues): a worker takes from the queues of the classes in CUTWORK_TAKES; set "
    "that variable instead, such as CUTWORK_TAKES=default,bulk",
    "exclude_queues": "-X (--exclude-queues): a worker takes from the queues of the classes in "
    "CUTWORK_TAKES; name the others there instead",
    "autoscale": "--autoscale: a worker has a fixed number of threads; set CUTWORK_CONCURRENCY or "
    "-c, and scale the number of workers",
    "max_tasks_per_child": "--max-tasks-per-child: a worker has threads and no child processes; "
    "leave the option out",
    "max_memory_per_child": "--max-memory-per-child: a worker has threads and no child processes; "
    "set CUTWORK_IMAGE_MEMORY and CUTWORK_MODEL_MEMORY instead",
    "time_limit": "--time-limit: a thread cannot be ended; set CUTWORK_STAGE_TIMEOUT and "
    "CUTWORK_DEVICE_TIMEOUT instead",
    "soft_time_limit": "--soft-time-limit: a thread cannot be interrupted; set "
    "CUTWORK_STAGE_TIMEOUT and CUTWORK_DEVICE_TIMEOUT instead",
}


def check_options(options: Mapping[str, Any], arguments: Sequence[str]) -> int:
    """Return the number of threads; raise `SettingsError` for an option that cannot be served.

    `options` is what Celery has read from the command line, `arguments` the command line itself:
    Celery takes `-P prefork` for its own default, and says nothing.
    """
    for pool in _pools(arguments):
        if pool != "threads":
            raise SettingsError(
                f"-P (--pool): expected threads, found {pool!r:.100}; leave the option out: the "
                "threads of one process share the models, which CUDA does not allow after a fork"
            )
    for name, reason in _REFUSED.items():
        if options.get(name):
            raise SettingsError(reason)
    threads = options.get("concurrency")
    if not isinstance(threads, int) or not 1 <= threads <= _MAX_CONCURRENCY:
        raise SettingsError(
            f"-c (--concurrency): expected a whole number from 1 to {_MAX_CONCURRENCY}, found "
            f"{threads!r:.100}"
        )
    return threads


def _pools(arguments: Sequence[str]) -> Iterator[str]:
    following = [*arguments[1:], ""]
    for argument, value in zip(arguments, following, strict=True):
        if argument in ("-P", "--pool"):
            yield value
        elif argument.startswith("--pool="):
            yield argument.removeprefix("--pool=")
        elif argument.startswith("-P"):
            yield argument.removeprefix("-P").removeprefix("=")


def unique_node_name(name: str, *, pid: int) -> str:
    """Return a worker's node name; Celery's default gets the process id.

    Two workers on one host would otherwise have one name. The first process of a container keeps
    the default, because the container has a host name of its own.
    """
    if name != default_nodename("") or pid == 1:
        return name
    return nodename(f"celery-{pid}", socket.gethostname())
