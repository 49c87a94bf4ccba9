"""Settings of glibc's malloc, so that freed memory returns to the operating system."""

import ctypes
import logging
from typing import Final

log = logging.getLogger(__name__)

_M_MMAP_THRESHOLD: Final = -3
"""The parameter of glibc's `mallopt` for the block size from which it uses `mmap`."""
_THRESHOLD: Final = 2**20
"""Bytes."""


def fix_mmap_threshold() -> None:
    """Return freed blocks of a megabyte and more to the operating system at once.

    By default glibc raises the threshold up to 32 MB and keeps smaller blocks for each thread:
    after twelve images of four megapixels, one after the other, 190 MB stayed allocated instead of
    20. Other C libraries have no such parameter, and do not need it.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return
    if not mallopt(_M_MMAP_THRESHOLD, _THRESHOLD):
        log.warning("mallopt refused M_MMAP_THRESHOLD: memory of finished images may be kept")


def trim_heap() -> None:
    """Return free pages between used blocks to the operating system, where glibc can do it."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except AttributeError:
        return
