"""kombu's record of unacknowledged messages, by the server's clock and open to other threads.

A patch without a link has no known upstream report.
"""

import logging
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any, Final

from kombu.transport import redis, virtual
from kombu.utils import json
from kombu.utils.encoding import bytes_to_str

from producer.store.ledger import Ledger
from worker.broker.kombu_message import MAX_ENTRY_BYTES, UNREADABLE

log = logging.getLogger(__name__)

_MAX_UNACKED_BYTES: Final = 4 * MAX_ENTRY_BYTES
"""kombu stores messages with every character outside ASCII escaped."""


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
        every message behind it. Patch: the entry is logged and removed. Its length is asked first,
        so that a long one is never read.
        """
        with self.channel.conn_or_acquire(client) as server:
            length = server.hstrlen(self.unacked_key, tag)
            try:
                if length > _MAX_UNACKED_BYTES:
                    raise ValueError(f"expected at most {_MAX_UNACKED_BYTES:,}, found {length:,}")
                entry = server.hget(self.unacked_key, tag) if length else None
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
