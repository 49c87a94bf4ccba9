"""Which queues a worker takes jobs from: those that it can do, or those it was told."""

from collections.abc import Collection, Mapping
from typing import Final

from producer.config.settings import SettingsError
from producer.contract.job import Job
from producer.contract.outcome import Outcome
from producer.store.routes import Routes
from worker.errors import (
    GpuNoDriver,
    GpuNoProvider,
    GpuUnavailable,
    GpuWrongCuda,
    ImageTooLarge,
    SourceTooLarge,
)

_NO_GPU: Final = {
    error.code for error in (GpuUnavailable, GpuNoDriver, GpuNoProvider, GpuWrongCuda)
}
_TOO_LARGE: Final = {error.code for error in (ImageTooLarge, SourceTooLarge)}


def taken(
    table: Mapping[str, Collection[str]], *, takes: Collection[str], no_gpu: GpuUnavailable | None
) -> list[str]:
    """The queues of a table, as `job_queues` in `celeryconfig.py`, that a worker takes from.

    `takes`: classes, such as `gpu` or `bulk`; none: all but those of large images, as far as the
    worker can do them. `no_gpu`: why it has no GPU; None: it has one. Raises `SettingsError` where
    it was told to take what is not there, or what it cannot do.
    """
    classes = {name.split(".")[1]: needs for name, needs in table.items()}
    if unknown := set(takes) - classes.keys():
        raise SettingsError(
            f"CUTWORK_TAKES: expected some of {', '.join(sorted(classes))}, found "
            f"{', '.join(sorted(unknown))}; CUTWORK_CLASSES names those that have queues"
        )
    if no_gpu is not None and any("gpu" in classes[name] for name in takes):
        raise SettingsError(f"CUTWORK_TAKES={','.join(takes)}: {no_gpu}")
    able = set() if no_gpu else {"gpu"}
    wanted = set(takes) or {name for name, needs in classes.items() if able.issuperset(needs)}
    return [name for name in table if name.split(".")[1] in wanted]


def elsewhere(outcome: Outcome, job: Job, *, routes: Routes, taken: Collection[str]) -> str | None:
    """The queue where a job that failed here has workers that can do it; None: it has failed."""
    able = {need for name in taken for need in routes.requirements[name]}
    if outcome.code in _NO_GPU:
        queue: str | None = routes.queue_for(job)
    elif outcome.code in _TOO_LARGE:
        queue = routes.larger_queue(job)
    else:
        return None
    # Who takes from there, or from its like, has done its best.
    return None if queue is None or able.issuperset(routes.requirements[queue]) else queue
