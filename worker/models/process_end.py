"""The end of a process that can do nothing else, and of one whose parent has ended."""

import ctypes
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, NoReturn

from producer.observability.events import Events

log = logging.getLogger(__name__)

EXIT_CODE: Final = 70
"""EX_SOFTWARE of sysexits.h."""
EXIT_SECONDS: Final = 5.0
"""Seconds that the log line and `Events.process_ends` may take together."""
STDERR: Final = 2
_PR_SET_PDEATHSIG: Final = 1


def end_process(reason: str, jobs: Mapping[str, str], *, events: Events) -> NoReturn:
    """Log the reason, report to `events`, and end this process without waiting for threads.

    `jobs`: the ids of the jobs that may be the reason, and the stage of each.
    """

    def announce() -> None:
        log.critical(
            "%s. This process ends with code %d; its jobs are unacknowledged, and go back to the "
            "queue",
            *(reason, EXIT_CODE),
        )
        events.process_ends(jobs)

    with suppress(RuntimeError):  # No memory for the timer's thread.
        faulthandler.dump_traceback_later(2 * EXIT_SECONDS, exit=True, file=STDERR)
    # In a thread of its own, because the code that hangs may hold a lock that it needs.
    thread = threading.Thread(target=announce, name="watchdog exit", daemon=True)
    try:
        thread.start()
        thread.join(EXIT_SECONDS)
        faulthandler.dump_traceback(STDERR)
    finally:
        os._exit(EXIT_CODE)


def die_with_parent() -> None:
    """End this process when its parent ends: Linux does that, elsewhere a thread watches."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        watch = threading.Thread(target=kill_after, args=(os.getppid(),), daemon=True)
        watch.start()


def kill_after(parent: int) -> None:
    """Kill this process within a second of the end of its parent."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)
