"""The end of a worker: what runs is finished, the rest is given back, and never later than asked.

Celery's own warm shutdown waits for running tasks without a bound, and keeps delayed retries until
then.
"""

import logging
import os
import queue
import threading
from typing import Final, Literal, NoReturn

from celery.worker import state

from worker.custody import UNREACHABLE, Custody

log = logging.getLogger(__name__)

UNFINISHED: Final = 1
"""The exit status when jobs were given back unfinished."""
_GIVING_BACK_SECONDS: Final = 5.0
"""At the end, for a broker that may not answer either."""

How = Literal["Warm", "Cold"]


class Drain:
    """Waits in a thread for the signals that Celery hears."""

    def __init__(self, custody: Custody, *, grace: float) -> None:
        """`grace`: seconds from the first signal to the end, whatever still runs."""
        self._custody = custody
        self._grace = grace
        # The one queue whose `put` may interrupt itself, as a signal handler does.
        self._signals: queue.SimpleQueue[How] = queue.SimpleQueue()
        self.begun = threading.Event()
        """Set once nothing new is to start."""
        threading.Thread(target=self._run, name="cutwork-drain", daemon=True).start()

    def signalled(self, how: How) -> None:
        """Begin to end; called by the handler of SIGTERM, and again by that of a second one."""
        self._signals.put(how)

    def _run(self) -> None:
        how = self._signals.get()
        self.begun.set()
        reason = "asked to end at once"
        if how == "Warm":
            self._give_back_waiting()
            try:
                self._signals.get(timeout=self._grace)
                reason = "a second signal"
            except queue.Empty:
                reason = f"{self._grace:g} s are over (CUTWORK_GRACE)"
        self._end(reason=reason)

    def last_words(self) -> None:
        """Give everything back for a process that is about to be ended for its device's sake.

        Its jobs count as delivered in vain: one of them may be what the device hangs on.
        """
        self._stop_taking()
        self._give_back_all("the device does not answer", blamed=True)

    def _end(self, *, reason: str) -> NoReturn:
        """End the process now; what it holds is given back, if the broker answers."""
        self._stop_taking()
        giving = threading.Thread(target=self._give_back_all, args=(reason,), daemon=True)
        giving.start()
        giving.join(_GIVING_BACK_SECONDS)
        logging.shutdown()
        # Threads that hang would keep any gentler way from ending.
        os._exit(UNFINISHED)

    def _stop_taking(self) -> None:
        self.begun.set()
        # Celery then takes nothing more, whoever asked for the end.
        state.should_stop = UNFINISHED  # type: ignore[assignment]  # the stubs know its first value

    def _give_back_waiting(self) -> None:
        try:
            given = self._custody.give_back_waiting()
        except UNREACHABLE as error:
            log.warning("the broker does not take back what waits here: %s", error)
            return
        log.info("ending within %g s: %d waiting jobs given back", self._grace, given)

    def _give_back_all(self, reason: str, *, blamed: bool = False) -> None:
        try:
            given = self._custody.give_back_all(blamed=blamed)
        except UNREACHABLE as error:
            log.warning("ended: %s; the broker takes nothing back: %s", reason, error)
            return
        log.warning("ended: %s; %d jobs given back", reason, given)
