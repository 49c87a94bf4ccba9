"""Compilation of all numba kernels, into the cache that numba keeps."""

from importlib import import_module

from worker.imaging.matting.kernels import kernels


def compile_kernels() -> None:
    """Compile every kernel, or load it from numba's cache.

    This takes a minute the first time on a machine, later a second. numba keeps its cache next to
    the source files, or in `NUMBA_CACHE_DIR`.
    """
    kernels()
    import_module("worker.models.engines.winograd.kernels")
