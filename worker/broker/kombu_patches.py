"""Every patch of kombu: a Redis transport that withstands malformed entries and clock changes.

kombu does not promise to keep the methods that are overridden here and in the modules
`kombu_message` and `kombu_qos`. `pyproject.toml` therefore allows only the minor version that the
tests ran with, and `tests/unit/test_patched_places.py` fails when one of these places has moved. A
patch without a link has no known upstream report.
"""

import logging
import threading
from collections.abc import Callable
from functools import partial
from queue import Empty
from typing import Any, Final

from kombu.transport import TRANSPORT_ALIASES, redis
from kombu.utils import json
from kombu.utils.encoding import bytes_to_str
from redis import RedisError

from worker.broker.early_outcomes import early_outcomes
from worker.broker.kombu_message import UNREADABLE, Message, check_length, keep_typed_values
from worker.broker.kombu_qos import QoS

log = logging.getLogger(__name__)

_REPLIES: Final = ".pidbox"
"""The end of the names of queues that `celery inspect` and Flower read replies from."""


def install() -> None:
    """Make kombu use this transport for `redis://` and `rediss://` URLs in this process.

    The aliases keep their names, so that kombu's TLS handling of `rediss://` applies and logs show
    the broker's own URL.
    """
    TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), f"{__name__}:Transport"))
    keep_typed_values()


class Channel(redis.Channel):
    """kombu's channel, which continues after a queue entry that is not a message.

    Upstream: kombu reads and decodes an entry in one method, lets errors end the worker, and offers
    no public hook between the two: https://github.com/celery/celery/issues/7975. The tests push
    malformed entries into a real queue.
    """

    Message = Message
    QoS = QoS
    reading_jobs = False
    """Whether the message that is being read comes from a queue of jobs."""
    _in_poll: Any
    connection_errors: Any
    client: Any
    connection: Any
    _queue_cycle: Any
    _flush_brpop_reauth: Any

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.consuming_stopped = threading.Event()
        """Set once no further message can arrive over this channel."""

    def close(self) -> None:
        """Close the channel even if its connection is broken.

        Upstream: kombu first reads the answer to the last BRPOP, and if that fails closes nothing.
        Problem: Celery's next attempt no longer knows the server and the worker ends. Patch: close
        once more, because then no answer is outstanding.
        """
        try:
            super().close()
        except self.connection_errors:
            super().close()

    def _basic_cancel(self, consumer_tag: str) -> None:
        """Stop consuming, and wait for the answer to the BRPOP that is still open.

        Upstream: kombu leaves the request open until the connection closes. Problem: a message that
        the ending worker requeues would be delivered to that worker again and be lost with it, like
        those of https://github.com/celery/celery/issues/4354. Patch: read the answer, or
        disconnect.
        """
        super()._basic_cancel(consumer_tag)  # type: ignore[misc]  # not in the stubs
        if self.active_queues:
            return
        connection = self._in_poll
        try:
            if connection and connection.can_read(timeout=self.brpop_timeout + 1):
                self._brpop_read()
            elif connection:
                connection.disconnect()
        except (Empty, *self.connection_errors):
            pass  # No message arrived, and none can arrive any more.
        self.consuming_stopped.set()

    def _deliver_fanout_message(self, message: Any, exchange: str) -> Any:
        """Deliver a broadcast; log and drop one that is not a message.

        Upstream: a broadcast that is not a control message ends the worker.
        """
        try:
            return super()._deliver_fanout_message(message, exchange)  # type: ignore[misc]
        except UNREADABLE as error:
            log.error("refused a broadcast that is not a message: %r", error)  # noqa: TRY400
            return True

    def _brpop_read(self, **options: Any) -> Any:
        """Read one queue entry; refuse one that is not a message.

        Upstream: as this, without the check of the length and the `except`. A copy, because kombu
        parses and delivers the entry in the same method.
        """
        try:
            try:
                reply = self.client.parse_response(self.client.connection, "BRPOP", **options)
            except self.connection_errors:
                self.client.connection.disconnect()
                raise
            if not reply:
                raise Empty
            queue = bytes_to_str(reply[0]).rsplit(self.sep, 1)[0]
            self._queue_cycle.rotate(queue)
            self._deliver_entry(reply[1], queue)
            return True
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()

    def _deliver_entry(self, entry: bytes, queue: str) -> None:
        payload = None
        self.reading_jobs = not queue.endswith(_REPLIES)
        try:
            check_length(entry)
            payload = json.loads(bytes_to_str(entry))
            self.connection._deliver(payload, queue)
        except UNREADABLE as error:
            # A traceback through kombu would not explain the entry.
            log.error("refused a queue entry that is not a message: %r", error)  # noqa: TRY400
            reason = f"expected a message as Celery writes it, found: {error}"
            early_outcomes.refuse_entry(payload, reason)
        finally:
            self.reading_jobs = False

    def basic_consume(  # type: ignore[override]  # kombu passes on whatever it gets
        self, queue: str, no_ack: bool, callback: Callable[[Any], Any], *tags: Any, **options: Any
    ) -> Any:
        """Consume from a queue; a message that Celery fails to take is not held.

        Upstream: an exception of the callback ends the worker, or leaves the message
        unacknowledged for as long as the worker lives. Patch: the job fails, and the message is
        removed.
        """
        if not no_ack:
            callback = partial(self._take, callback)
        return super().basic_consume(queue, no_ack, callback, *tags, **options)

    def _take(self, callback: Callable[[Any], Any], message: Any) -> None:
        try:
            callback(message)
        except (RedisError, OSError):
            raise  # The connection is lost, and kombu requeues the message.
        except Exception:
            log.exception("job %r could not be taken", message.headers["id"])
            done = early_outcomes.fail_delivery(message, message._decoded_cache)
            if not message.acknowledged:
                message.reject(requeue=not done)


class Transport(redis.Transport):
    """kombu's Redis transport with the patched channel."""

    Channel = Channel

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Begin to consume, and close the connection if that fails.

        Upstream: kombu first restores the messages of dead workers. If the broker refuses that
        because it is full or read-only, Celery tries again with a new connection and leaves this
        one open. Patch: close it.
        """
        try:
            super().register_with_event_loop(connection, loop)
        except BaseException:
            self.close_connection(connection)
            raise
