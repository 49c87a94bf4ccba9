"""While the broker does not answer, the log has one line each time the state changes.

Celery logs every attempt to connect, and a traceback for each job that it requeues; the worker's
threads would log every period that they miss. What a thread misses while Celery is connected, as
with a broker that is full, is logged once a minute.
"""

import logging
import math
import warnings
from typing import Final

_CONNECTED: Final = "Connected to %s"
_LOST: Final = "Connection to broker lost"
_REFUSED: Final = "Cannot connect to %s"
_FREQUENT: Final = "Frequent restarts detected"
_REPEAT_SECONDS: Final = 60.0
_MISSED: Final = (
    "lost messages are not looked for: %s",
    "this worker's deliveries were not renewed: %s",
    "this worker's throughput was not stored: %s",
)
_LOGGERS: Final = (
    "celery.worker.consumer.connection",
    "celery.worker.consumer.consumer",
    "producer.store.recovery",
    "worker.broker.unacked",
    "worker.observability.throughput",
)


class OutageFilter(logging.Filter):
    """Drops what repeats the known state of the connection."""

    def __init__(self) -> None:
        super().__init__()
        self._is_lost = False
        self._logged: dict[str, float] = {}
        """What was logged since the last connection, and when."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record says something new."""
        text = str(record.msg)
        if text == _CONNECTED:
            self._is_lost = False
            self._logged.clear()
            return True
        if _LOST in str(record.args) or _LOST in text:
            self._is_lost = True
            return True
        if _REFUSED in text:
            self._is_lost = True
            # The reason may change: a broker that refuses connections comes back as read-only.
            reason = f"{_REFUSED} {_reason(record)}"
            return self._is_new(reason, record.created, within=math.inf)
        if text.startswith(_FREQUENT):
            return not self._is_lost
        if text not in _MISSED:
            return True
        return not self._is_lost and self._is_new(text, record.created, within=_REPEAT_SECONDS)

    def _is_new(self, text: str, now: float, *, within: float) -> bool:
        if text in self._logged and now - self._logged[text] < within:
            return False
        self._logged[text] = now
        return True


def _reason(record: logging.LogRecord) -> str:
    arguments = record.args if isinstance(record.args, tuple) else ()
    return " ".join(str(item)[:100] for item in arguments if isinstance(item, Exception))


def is_not_rejection(record: logging.LogRecord) -> bool:
    """Return whether a record is none of Celery's about a requeued job; the task has logged why."""
    return getattr(record, "data", {}).get("description") != "rejected"


def install() -> None:
    """Filter the log of this process."""
    outage = OutageFilter()
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(outage)
    logging.getLogger("celery.app.trace").addFilter(is_not_rejection)


def ignore_advice() -> None:
    """Leave out Celery's advice at each reconnection, about a setting that celeryconfig.py has.

    Call once Celery has set up its log, because it asks for these warnings there.
    """
    warnings.filterwarnings("ignore", category=PendingDeprecationWarning, module="celery.worker")
