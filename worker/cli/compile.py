"""Everything that numba compiles; it keeps it beside the source, or in `NUMBA_CACHE_DIR`."""

from importlib import import_module

from worker.imaging.matting.kernels import kernels


def compile_kernels() -> None:
    """Import it all: the first time ever on a machine that takes a minute, and then a second."""
    kernels()
    import_module("worker.models.engines.winograd.kernels")
