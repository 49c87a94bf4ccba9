"""The compiled functions of `worker.imaging`, imported on first use.

Importing numba takes a second, and compiling takes half a minute the first time on a machine. Only
a process that cuts out images should wait for that; a worker does so before it takes jobs.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from importlib import import_module
from threading import Lock
from typing import Any, Final, NamedTuple

_LOCK: Final = Lock()


class Kernels(NamedTuple):
    """Compiled functions, and the lock under which the parallel one is called."""

    solve: Callable[..., Any]
    """`worker.imaging.matting.closed_form.solve`."""
    estimate_foreground: Callable[..., Any]
    """pymatting's `estimate_foreground_ml`. Hold `lock` during the call."""
    decontaminate: Callable[..., None]
    """`worker.imaging.decontaminate_kernel.decontaminate`."""
    lock: AbstractContextManager[object]


@cache
def kernels() -> Kernels:
    """Import numba and everything that it compiles for `worker.imaging`, and return it."""
    import numba

    # numba reads the setting when the first parallel kernel is compiled, so before the imports.
    numba.config.THREADING_LAYER = layer = _threading_layer()
    from pymatting import estimate_foreground_ml

    from worker.imaging.decontaminate_kernel import decontaminate
    from worker.imaging.matting.closed_form import solve

    # `masks.soft_mask` imports this module on first use; load it here, before the first job.
    import_module("worker.imaging.upsample")
    # Under this layer two threads in a parallel kernel crash the process; the others allow it.
    lock = _LOCK if layer == "workqueue" else nullcontext()
    return Kernels(solve, estimate_foreground_ml, decontaminate, lock)


def _threading_layer() -> str:
    """Return numba's layer for parallel kernels: OpenMP, TBB, or its own if both are missing."""
    for layer in ("omp", "tbb"):
        try:
            # Private parts of numba, which has no public way to ask which layers can be loaded.
            import_module(f"numba.np.ufunc.{layer}pool")
        except ImportError:
            continue
        return layer
    return "workqueue"
