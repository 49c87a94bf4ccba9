"""Celery's remote control, as far as a worker of threads can serve it.

A command that cannot be served answers with a sentence that says what to use instead. Celery
documents how to add commands; those here replace its own of the same name.
"""

import os
import signal
from collections.abc import Callable
from typing import Any, Final

from celery.worker import control as _untyped_control
from celery.worker.control import Panel

from worker.broker.early_outcomes import early_outcomes

control: Any = _untyped_control

_REFUSED: Final = {
    "pool_grow": "the number of threads is fixed when a worker starts; start it with "
    "CUTWORK_CONCURRENCY or -c, or start another worker",
    "pool_shrink": "the number of threads is fixed when a worker starts; start it with "
    "CUTWORK_CONCURRENCY or -c",
    "pool_restart": "threads cannot be restarted; end the worker (celery control shutdown) and let "
    "its supervisor start it again",
    "autoscale": "a worker has a fixed number of threads; scale the number of workers instead",
    "time_limit": "threads cannot be ended; CUTWORK_STAGE_TIMEOUT and CUTWORK_DEVICE_TIMEOUT "
    "bound a job's time",
    "add_consumer": "a worker takes from the queues of the classes in CUTWORK_TAKES; set it and "
    "restart the worker",
}

_RUNS_TO_ITS_END: Final = (
    "terminate: a job that has begun runs to its end, because threads cannot be ended; the named "
    "jobs that have not begun are cancelled"
)


def install() -> None:
    """Replace commands of Celery's in this process."""
    for name, reason in _REFUSED.items():
        _replace(name, _refusing(name, reason))
    _replace("shutdown", _shutdown)
    _replace("revoke", _revoke)
    _replace("revoke_by_stamped_headers", _revoke_by_stamped_headers)
    _replace("terminate", _terminate)


def _replace(name: str, command: Callable[..., object]) -> None:
    Panel.data[name] = command
    Panel.meta[name] = Panel.meta[name]._replace(help=command.__doc__ or "")


def _refusing(name: str, reason: str) -> Callable[..., object]:
    def refuse(_state: Any, **_arguments: object) -> object:
        return control.nok(f"{name}: {reason}")

    refuse.__doc__ = f"Not available: {reason}."
    return refuse


def _shutdown(_state: Any, **_arguments: object) -> object:
    """End worker(s) as SIGTERM does: running jobs have CUTWORK_GRACE seconds."""
    os.kill(os.getpid(), signal.SIGTERM)
    return control.ok("the worker ends")


def _revoke(state: Any, task_id: Any, terminate: bool = False, **options: Any) -> Any:
    """Cancel jobs that have not begun, by id: their outcome is `cancelled`."""
    reply = control.revoke(state, task_id, **options)
    early_outcomes.revoke([task_id] if isinstance(task_id, str) else task_id)
    return control.nok(_RUNS_TO_ITS_END) if terminate else reply


def _revoke_by_stamped_headers(
    state: Any, headers: Any, terminate: bool = False, **options: Any
) -> Any:
    """Cancel jobs that have not begun, by stamp: their outcome is `cancelled`."""
    reply = control.revoke_by_stamped_headers(state, headers, **options)
    return control.nok(_RUNS_TO_ITS_END) if terminate else reply


def _terminate(state: Any, task_id: Any, **options: Any) -> Any:
    """Cancel jobs that have not begun, by id; those that have begun run to their end."""
    return _revoke(state, task_id, terminate=True, **options)
