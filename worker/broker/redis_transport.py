"""kombu's Redis transport, made safe against strange entries and against clocks that jump."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty
from typing import Any, Final

from kombu.transport import redis, virtual
from kombu.utils import json
from kombu.utils.encoding import bytes_to_str

from producer.contract.job import TASK_NAME
from producer.store.ledger import Ledger

log = logging.getLogger(__name__)

UNREADABLE: Final = (AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What kombu raises for an entry of the queue that is no message."""
_SAME_CLOCK_SECONDS: Final = 1.0
_LONGEST_BODY: Final = 2**18
"""Characters; a job has some two thousand, a canvas of many tasks more."""
_LONGEST_NAME: Final = 256

# kombu's JSON makes decimals, dates and bytes of `{"__type__": …}`, wherever they stand: a number
# of a billion digits in a message of a hundred bytes would hold the interpreter for hours. Nothing
# of ours is written so, and kombu offers no other way to leave it.
json._decoders.clear()  # type: ignore[attr-defined]


class Message(virtual.Message):
    """kombu's message; from a queue, one without our task's name and an id is refused.

    Later would be too late: it would be held as unacknowledged, and come back; and of an unknown
    task Celery stores a failure under whatever id the message names.
    """

    def __init__(self, payload: Any, channel: Any = None, **options: Any) -> None:
        if len(payload.get("body") or "") > _LONGEST_BODY:
            raise ValueError(f"body: expected at most {_LONGEST_BODY:,} characters")
        headers = payload.get("headers")
        if isinstance(headers, dict) and headers.get("compression"):
            # kombu would unpack it here, to any size, before it is known who sent it.
            raise TypeError("headers.compression: expected none, a message is small")
        super().__init__(payload, channel=channel, **options)
        # Control messages are broadcast, not queued, and name no task.
        if getattr(channel, "reading_queue", False):
            if (task := self.headers.get("task")) != TASK_NAME:
                raise TypeError(f"headers.task: expected {TASK_NAME}, found {task!r:.100}")
            for place, name in (
                ("headers.id", self.headers.get("id")),
                ("properties.delivery_tag", self.delivery_tag),
            ):
                if not isinstance(name, str) or not 0 < len(name) < _LONGEST_NAME:
                    raise TypeError(f"{place}: expected a name, found {name!r:.100}")


class QoS(redis.QoS):
    """kombu's record of what is held unacknowledged, kept by the server's clock.

    kombu writes down each machine's own time and compares it with another's: a clock that is an
    hour behind has its messages taken away at once, one that is ahead keeps those of a dead worker
    for an hour. The server's time is asked for once a connection and counted on by a clock that
    cannot be set.
    """

    channel: Any
    _quick_ack: Any

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._offset: float | None = None
        self._let_go_of: set[str] = set()

    def held(self) -> set[str]:
        """Delivery tags of the messages taken over this connection and not answered yet."""
        return set(self._delivered or ()) - set(self._dirty or ())

    def renew(self, ledger: Ledger) -> None:
        """Have the server take everything held for taken just now.

        Over the ledger's connections: those of this channel are the main thread's to close.
        """
        if tags := self.held():
            times = dict.fromkeys(tags, ledger.now())
            ledger.redis.zadd(self.unacked_index_key, times, xx=True)

    def give_back(self, tag: str, ledger: Ledger) -> None:
        """Put what is held back into its queue; whatever is done with it here later has no effect.

        The next worker holds it under the same tag.
        """
        self.restore_by_tag(tag, client=ledger.redis)
        self._let_go(tag)

    def finish(self, tag: str, ledger: Ledger) -> None:
        """Remove an answered message before Celery does; with the same finality."""
        self._remove_from_indices(tag, ledger.redis.pipeline()).execute()  # type: ignore[attr-defined]
        self._let_go(tag)

    def _let_go(self, tag: str) -> None:
        self._let_go_of.add(tag)
        self._quick_ack(tag)

    def ack(self, delivery_tag: str) -> None:
        """Remove an answered message; where that fails it comes back, and is no longer renewed."""
        if delivery_tag not in self._let_go_of:
            with self._forgetting(delivery_tag):
                super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Remove a refused message, or put it back; where that fails as `ack`."""
        if delivery_tag not in self._let_go_of:
            with self._forgetting(delivery_tag):
                super().reject(delivery_tag, requeue=requeue)

    @contextmanager
    def _forgetting(self, tag: str) -> Iterator[None]:
        """What could not be acknowledged is held no more; kombu would count it for ever."""
        try:
            yield
        except BaseException:
            self._quick_ack(tag)
            raise

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:
        """Give a message back; one that cannot be read would be in the way of all behind it."""
        with self.channel.conn_or_acquire(client) as server:
            entry = server.hget(self.unacked_key, tag)
            try:
                if entry is not None:
                    _message, _exchange, _routing_key = json.loads(bytes_to_str(entry))
            except UNREADABLE as error:
                log.error("dropped what was held as %r, it is no message: %r", tag, error)  # noqa: TRY400
                self._remove_from_indices(tag, server.pipeline()).execute()  # type: ignore[attr-defined]
                return
            super().restore_by_tag(tag, client=server, leftmost=leftmost)

    def append(self, message: Any, delivery_tag: str) -> None:
        """Write a message down as held."""
        super().append(message, delivery_tag)
        if abs(self._ahead()) > _SAME_CLOCK_SECONDS:
            with self.channel.conn_or_acquire() as client:
                client.zadd(self.unacked_index_key, {delivery_tag: self._now()}, xx=True)

    @property
    def visibility_timeout(self) -> Any:
        """Seconds, counted from this machine's own time: kombu subtracts them from that."""
        return float(self.channel.visibility_timeout) + self._ahead()

    def _now(self) -> float:
        if self._offset is None:
            with self.channel.conn_or_acquire() as client:
                seconds, microseconds = client.time()
            self._offset = seconds + microseconds / 1e6 - time.monotonic()
        return time.monotonic() + self._offset

    def _ahead(self) -> float:
        """Seconds by which this machine's clock is ahead of the server's."""
        return time.time() - self._now()


class Channel(redis.Channel):
    """kombu's channel, which goes on after an entry of the queue that is no message.

    kombu offers no public place between reading an entry and decoding it; the tests push such
    entries into a real queue, and so notice when a newer kombu moves this one.
    """

    Message = Message
    QoS = QoS
    reading_queue = False
    _in_poll: Any
    connection_errors: Any

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.quiet = threading.Event()
        """Set once no message can come over this channel any more."""

    def close(self) -> None:
        """Close everything, where the connection is broken too.

        kombu first reads what the last BRPOP was answered, and where that fails closes nothing. By
        the time Celery tries once more it has forgotten the server, and that ends the worker.
        """
        try:
            super().close()
        except self.connection_errors:
            super().close()

    def _basic_cancel(self, consumer_tag: str) -> None:
        """Stop consuming, and wait for the answer to what was asked of the server before.

        kombu leaves that request open until the connection is closed: what a worker gives back
        while it ends would come straight back to it, and be lost with it.
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
            pass  # Nothing came, and nothing will.
        self.quiet.set()

    def _deliver_fanout_message(self, message: Any, exchange: str) -> Any:
        # A broadcast that is no control message would end the worker.
        try:
            return super()._deliver_fanout_message(message, exchange)  # type: ignore[misc]
        except UNREADABLE as error:
            log.error("refused a broadcast that is no message: %r", error)  # noqa: TRY400
            return True

    def _brpop_read(self, **options: Any) -> Any:
        self.reading_queue = True
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # not in the stubs
        except UNREADABLE as error:
            # A traceback through kombu would say nothing more of a stranger's bytes.
            log.error("refused an entry of the queue that is no message: %r", error)  # noqa: TRY400
            return True
        finally:
            self.reading_queue = False


class Transport(redis.Transport):
    """Redis with that channel."""

    Channel = Channel

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Begin to consume.

        kombu first looks for what dead workers held. Where the broker refuses that (it is full or
        read-only) Celery tries again with a new connection, and nobody closes this one.
        """
        try:
            super().register_with_event_loop(connection, loop)
        except BaseException:
            self.close_connection(connection)
            raise
