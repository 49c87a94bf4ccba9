"""Every patch of kombu: a Redis transport that withstands malformed entries and clock changes.

kombu does not promise to keep the methods that are overridden here. `pyproject.toml` therefore
allows only the minor version that the tests ran with, and `tests/unit/test_patched_places.py` fails
when one of these places has moved. A patch without a link has no known upstream report.
"""

import logging
import threading
import time
from collections.abc import Callable
from functools import cached_property
from queue import Empty
from typing import Any, Final

from kombu.transport import TRANSPORT_ALIASES, redis, virtual
from kombu.utils import json
from kombu.utils.encoding import bytes_to_str

from producer.contract.job import TASK_NAME
from producer.store.ledger import Ledger

log = logging.getLogger(__name__)

UNREADABLE: Final = (AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""The errors that kombu raises for a queue entry that is not a message."""
_MAX_BODY_CHARACTERS: Final = 2**18
"""A job has some two thousand characters, a canvas of many tasks more."""
_MAX_NAME_CHARACTERS: Final = 256

# Upstream: kombu's JSON turns `{"__type__": …}` into decimals, dates and bytes, at any depth.
# Problem: a message of a hundred bytes can name a decimal of a billion digits, which would hold the
# interpreter for hours. Patch: no type is decoded. Cutwork's messages use none of them, and kombu
# has no public setting for it.
json._decoders.clear()  # type: ignore[attr-defined]


def install() -> None:
    """Make kombu use this transport for `redis://` and `rediss://` URLs in this process.

    The aliases keep their names, so that kombu's TLS handling of `rediss://` applies and logs show
    the broker's own URL.
    """
    TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), f"{__name__}:Transport"))


class Message(virtual.Message):
    """A kombu message that is refused if it is oversized, compressed or not for Cutwork's task.

    Upstream: kombu accepts and decompresses any message. Problem: checked later, a bad message
    would already count as unacknowledged and be redelivered, and Celery would store a failure of an
    unknown task under whatever id the message names. Patch: the constructor raises `ValueError` or
    `TypeError`; messages from a queue must name Cutwork's task and an id.
    """

    def __init__(self, payload: Any, channel: Any = None, **options: Any) -> None:
        if len(payload.get("body") or "") > _MAX_BODY_CHARACTERS:
            raise ValueError(f"body: expected at most {_MAX_BODY_CHARACTERS:,} characters")
        headers = payload.get("headers")
        if isinstance(headers, dict) and headers.get("compression"):
            # kombu would decompress the body here, to any size, before its sender is verified.
            raise TypeError("headers.compression: expected none, because messages are small")
        super().__init__(payload, channel=channel, **options)
        # Control messages are broadcast rather than queued and name no task.
        if getattr(channel, "reading_queue", False):
            if (task := self.headers.get("task")) != TASK_NAME:
                raise TypeError(f"headers.task: expected {TASK_NAME}, found {task!r:.100}")
            for field, name in (
                ("headers.id", self.headers.get("id")),
                ("properties.delivery_tag", self.delivery_tag),
            ):
                if not isinstance(name, str) or not 0 < len(name) < _MAX_NAME_CHARACTERS:
                    raise TypeError(f"{field}: expected a name, found {name!r:.100}")


class QoS(redis.QoS):
    """kombu's record of unacknowledged messages, kept by the server's clock.

    Upstream: kombu stores each machine's own time and compares it with that of other machines.
    Problem: the messages of a machine whose clock is an hour slow are redelivered at once; those of
    a dead worker whose clock is an hour fast stay unacknowledged for an hour. Patch: the server's
    time is read once per connection and continued with a monotonic clock. The methods without a
    counterpart in kombu let other threads renew, requeue and acknowledge over the ledger's
    connections, because those of the channel belong to the main thread.
    """

    channel: Any
    _quick_ack: Any

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._settled_tags: set[str] = set()
        """Messages requeued or acknowledged ahead of Celery."""

    def unacked_tags(self) -> set[str]:
        """Return the delivery tags taken over this connection and not acknowledged yet."""
        return set(self._delivered or ()) - set(self._dirty or ())

    def renew(self, ledger: Ledger) -> None:
        """Restart the visibility timeout of every unacknowledged message."""
        if tags := self.unacked_tags():
            ledger.redis.zadd(self.unacked_index_key, dict.fromkeys(tags, ledger.now()), xx=True)

    def requeue(self, tag: str, ledger: Ledger, *, last: bool = False) -> None:
        """Requeue a message; a later `ack` or `reject` of it here has no effect.

        It becomes the first of its queue, or the `last`. The next worker holds it under the same
        tag.
        """
        self.restore_by_tag(tag, client=ledger.redis, leftmost=last)
        self._settle(tag)

    def acknowledge(self, tag: str, ledger: Ledger) -> None:
        """Acknowledge a message before Celery does; a later `ack` has no effect."""
        self._remove_from_indices(tag, ledger.redis.pipeline()).execute()  # type: ignore[attr-defined]
        self._settle(tag)

    def _settle(self, tag: str) -> None:
        self._settled_tags.add(tag)
        self._quick_ack(tag)

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a message.

        Upstream: if this fails, kombu counts the message as unacknowledged for ever. Patch: it is
        forgotten and no longer renewed, so the broker redelivers it.
        """
        self._unless_settled(super().ack, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Remove a refused message or requeue it; patched in the same way as `ack`."""
        self._unless_settled(super().reject, delivery_tag, requeue)

    def _unless_settled(self, settle: Callable[..., None], tag: str, *arguments: Any) -> None:
        if tag not in self._settled_tags:
            try:
                settle(tag, *arguments)
            except BaseException:
                self._quick_ack(tag)
                raise

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:
        """Requeue an unacknowledged message, or drop it if it is not a message.

        Upstream: kombu raises for an entry that it cannot read. Problem: that entry would block
        every message behind it. Patch: the entry is logged and removed.
        """
        with self.channel.conn_or_acquire(client) as server:
            entry = server.hget(self.unacked_key, tag)
            try:
                if entry is not None:
                    _message, _exchange, _routing_key = json.loads(bytes_to_str(entry))
            except UNREADABLE as error:
                log.error(  # noqa: TRY400 - a traceback through kombu would not explain the entry
                    "dropped the unacknowledged entry %r: it is not a message: %r", tag, error
                )
                self._remove_from_indices(tag, server.pipeline()).execute()  # type: ignore[attr-defined]
                return
            super().restore_by_tag(tag, client=server, leftmost=leftmost)

    def append(self, message: Any, delivery_tag: str) -> None:
        """Record a message as unacknowledged, with the server's time.

        Upstream: kombu writes this machine's time. Patch: the same transaction with the server's. A
        correction in a second command would come too late for a worker that is killed in between.
        """
        delivery, now = message.delivery_info, self._server_time()
        entry = json.dumps([message._raw, delivery["exchange"], delivery["routing_key"]])
        with self.pipe_or_acquire() as pipe:
            pipe.zadd(self.unacked_index_key, {delivery_tag: now})
            pipe.hset(self.unacked_key, delivery_tag, entry)
            pipe.execute()
        virtual.QoS.append(self, message, delivery_tag)

    @property
    def visibility_timeout(self) -> Any:
        """Seconds that kombu subtracts from this machine's time, corrected by the clock skew."""
        return float(self.channel.visibility_timeout) + time.time() - self._server_time()

    def _server_time(self) -> float:
        return time.monotonic() + self._server_offset

    @cached_property
    def _server_offset(self) -> float:
        """Server time minus monotonic time."""
        with self.channel.conn_or_acquire() as client:
            seconds, microseconds = client.time()
        return float(seconds + microseconds / 1e6 - time.monotonic())


class Channel(redis.Channel):
    """kombu's channel, which continues after a queue entry that is not a message.

    Upstream: kombu reads and decodes an entry in one method, lets errors end the worker, and offers
    no public hook between the two: https://github.com/celery/celery/issues/7975. The tests push
    malformed entries into a real queue.
    """

    Message = Message
    QoS = QoS
    reading_queue = False
    _in_poll: Any
    connection_errors: Any

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
        """Read one queue entry; log and drop one that is not a message."""
        self.reading_queue = True
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # not in the stubs
        except UNREADABLE as error:
            # A traceback through kombu would not explain the entry.
            log.error("refused a queue entry that is not a message: %r", error)  # noqa: TRY400
            return True
        finally:
            self.reading_queue = False


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
