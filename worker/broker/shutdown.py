"""The end of a worker: what runs is finished, the rest is given back, and never later than asked.

Celery's own warm shutdown waits for running tasks without a bound, and keeps delayed retries until
then.
"""

import logging
import os
import queue
import signal
import threading
from typing import Final, Literal, NoReturn

from celery.worker import state

from worker.broker.unacked import UNREACHABLE, UnackedDeliveries

log = logging.getLogger(__name__)

UNFINISHED: Final = 1
"""The exit status when jobs were given back unfinished."""
_GIVING_BACK_SECONDS: Final = 5.0
"""At the end, for a broker that may not answer either."""

How = Literal["Warm", "Cold"]
_SIGNALS: Final[dict[signal.Signals, How]] = {
    signal.SIGTERM: "Warm",
    signal.SIGINT: "Warm",
    signal.SIGQUIT: "Cold",
}
"""A second one of any of them ends the worker at once."""


class Shutdown:
    """Waits in a thread for the signals to end."""

    def __init__(self, unacked: UnackedDeliveries, *, grace: float) -> None:
        """`grace`: seconds from the first signal to the end, whatever still runs."""
        self._custody = unacked
        self._grace = grace
        # The one queue whose `put` may interrupt itself, as a signal handler does.
        self._signals: queue.SimpleQueue[How] = queue.SimpleQueue()
        self.begun = threading.Event()
        """Set once nothing new is to start."""
        threading.Thread(target=self._run, name="cutwork-drain", daemon=True).start()

    def ending(self) -> bool:
        """Whether this worker takes nothing new, for whichever reason: SIGHUP is Celery's own."""
        return self.begun.is_set() or state.should_stop is not None

    def listen(self) -> None:
        """Take the signals over from Celery; call in the main thread.

        Its handlers cancel tasks on a second signal, which a pool of threads cannot do.
        """
        for number, how in _SIGNALS.items():
            signal.signal(number, lambda *_, how=how: self._signalled(how))

    def _signalled(self, how: How) -> None:
        # Here too, and not only in the thread: the main loop looks at it next.
        if state.should_stop is None:
            state.should_stop = 0  # type: ignore[assignment]  # the stubs know its first value
        self._signals.put(how)

    def _run(self) -> None:
        how = self._signals.get()
        self._stop_taking(status=0)
        reason = "asked to end at once"
        if how == "Warm":
            # A broker that does not answer must not use the grace up.
            threading.Thread(target=self._give_back_waiting, daemon=True).start()
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
        self._stop_taking(status=UNFINISHED)
        self._give_back_all("the device does not answer", blamed=True)

    def _end(self, *, reason: str) -> NoReturn:
        """End the process now; what it holds is given back, if the broker answers."""

        def last_words() -> None:
            self._give_back_all(reason)
            logging.shutdown()

        try:
            # Neither a broker nor a reader of the log that hangs may keep this one from ending.
            giving = threading.Thread(target=last_words, daemon=True)
            giving.start()
            giving.join(_GIVING_BACK_SECONDS)
        finally:
            # Threads that hang would keep any gentler way from ending.
            os._exit(UNFINISHED)

    def _stop_taking(self, *, status: int) -> None:
        self.begun.set()
        # Celery then takes nothing more, whoever asked for the end.
        state.should_stop = status  # type: ignore[assignment]  # the stubs know its first value

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
