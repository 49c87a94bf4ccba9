"""The queues that a worker consumes, and where a job goes that this worker cannot process."""

from collections.abc import Collection, Mapping
from typing import Final

from producer.config.settings import SettingsError
from producer.contract.job import Job
from producer.contract.outcome import Outcome
from producer.store.routes import Routes
from worker.errors import GpuUnavailable, ImageTooLarge, SourceTooLarge

_GPU_CODES: Final = {
    GpuUnavailable.code,
    *(error.code for error in GpuUnavailable.__subclasses__()),
}
_SIZE_CODES: Final = {error.code for error in (ImageTooLarge, SourceTooLarge)}


def select_queues(
    table: Mapping[str, Collection[str]], *, classes: Collection[str], no_gpu: GpuUnavailable | None
) -> list[str]:
    """Return the queues of `table` that a worker consumes.

    `table` maps each queue to the capabilities it needs, like `job_queues` in `celeryconfig.py`.
    `classes` names the job classes to take, such as `gpu` or `bulk`. If it is empty, the worker
    takes every class whose needs it meets; the class of large images must be named. `no_gpu` is the
    reason why the worker has no GPU, or None if it has one. Raises `SettingsError` if a class has
    no queue or needs a GPU that the worker does not have.
    """
    needs_by_class = {name.split(".")[1]: needs for name, needs in table.items()}
    if unknown := set(classes) - needs_by_class.keys():
        raise SettingsError(
            f"CUTWORK_TAKES: expected some of {', '.join(sorted(needs_by_class))}, found "
            f"{', '.join(sorted(unknown))}; CUTWORK_CLASSES names the classes that have queues"
        )
    if no_gpu is not None and any("gpu" in needs_by_class[name] for name in classes):
        raise SettingsError(f"CUTWORK_TAKES={','.join(classes)}: {no_gpu}")
    capabilities = set() if no_gpu else {"gpu"}
    selected = set(classes) or {
        name for name, needs in needs_by_class.items() if capabilities.issuperset(needs)
    }
    return [name for name in table if name.split(".")[1] in selected]


def find_fallback_queue(
    outcome: Outcome, job: Job, *, routes: Routes, consumed: Collection[str]
) -> str | None:
    """Return a queue whose workers may succeed where this one failed, or None if there is none.

    `consumed` names the queues of this worker.
    """
    capabilities = {need for name in consumed for need in routes.requirements[name]}
    queue = None
    if outcome.code in _GPU_CODES:
        queue = routes.queue_for(job)
    elif outcome.code in _SIZE_CODES:
        queue = routes.larger_queue(job)
    # A worker that already has the capabilities of that queue would fail there again.
    return None if queue is None or capabilities.issuperset(routes.requirements[queue]) else queue
