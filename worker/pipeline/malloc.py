"""What the C library keeps of the memory it is given back."""

import ctypes
import logging
from typing import Final

log = logging.getLogger(__name__)

_M_MMAP_THRESHOLD: Final = -3
"""glibc's `mallopt`: bytes from which a block is the system's, and back there once it is free."""
_LARGE: Final = 2**20


def give_back_large_blocks() -> None:
    """Have blocks of a megabyte and more go back to the system as soon as they are free.

    glibc raises that limit to 32 MB by itself, and keeps what is below it for each thread: twelve
    images of four megapixels, one after the other, left 190 MB behind instead of 20. Other C
    libraries have no such call, and no such habit.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return
    if not mallopt(_M_MMAP_THRESHOLD, _LARGE):
        log.warning("mallopt refused M_MMAP_THRESHOLD: memory of finished images may be kept")


def give_back_free_pages() -> None:
    """Have what lies free between blocks in use be the system's again, where glibc can."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except AttributeError:
        return
