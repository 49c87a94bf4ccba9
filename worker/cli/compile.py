"""Compilation of all numba kernels, into the cache that numba keeps."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Final

from worker.imaging.matting.kernels import kernels

KERNELS: Final[Mapping[str, Callable[[], object]]] = {
    "matting, edges and masks": kernels,
    "networks on a CPU": lambda: import_module("worker.models.engines.winograd.kernels"),
}
"""What compiles each group of kernels."""


def compile_kernels() -> None:
    """Compile every kernel, or load it from numba's cache.

    This takes a minute the first time on a machine, later a second. numba keeps its cache next to
    the source files, or in `NUMBA_CACHE_DIR`.
    """
    for compile_group in KERNELS.values():
        compile_group()
