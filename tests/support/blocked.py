"""Wait until threads are blocked, where no other state shows that they are."""

import sys
import threading
import time
from types import FrameType, ModuleType


def until_blocked_in(module: ModuleType, count: int) -> None:
    """Return when `count` threads have called into `module` and wait there on a condition."""
    while sum(map(_is_blocked, _frames_below(module))) < count:
        time.sleep(0.005)


def _frames_below(module: ModuleType) -> list[FrameType]:
    """Return the innermost frame of each thread that has a frame of the module."""
    return [frame for frame in sys._current_frames().values() if _calls(frame, module)]


def _calls(frame: FrameType | None, module: ModuleType) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == module.__file__:
            return True
        frame = frame.f_back
    return False


def _is_blocked(frame: FrameType) -> bool:
    return (frame.f_code.co_filename, frame.f_code.co_name) == (threading.__file__, "wait")
