"""A batcher without delay, for any engine: items that arrive during a batch form the next one."""

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class TimedResult(NamedTuple, Generic[Result]):
    """The result of one item and how long it took."""

    result: Result
    wait_seconds: float
    """From submission until the item's batch began."""
    run_seconds: float
    """Duration of its batch, including retries."""


@dataclass(eq=False, kw_only=True)
class _Entry(Generic[Item, Result]):
    item: Item
    queued_at: float = field(default_factory=time.perf_counter)
    future: Future[TimedResult[Result]] = field(default_factory=Future)


class Batcher(Generic[Item, Result]):
    """Runs items in batches, one batch at a time, on the threads that wait for their results.

    There is no batching delay, no thread of the batcher and no timer. The caller that finds the
    batcher idle becomes its leader: it runs whatever is queued, oldest first, and continues with
    the next batch until its own result is there.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Sequence[Result]],
        *,
        max_batch: Callable[[Item], int],
        group_key: Callable[[Item], Hashable],
        is_out_of_memory: Callable[[Exception], bool],
        free_memory: Callable[[], None],
    ) -> None:
        """`run` returns one result per item, in order.

        The items of a batch have the same `group_key`, and there are at most as many as `max_batch`
        says of the first of them.

        When `run` raises, the batch is halved until the item that causes the error is alone; only
        that item fails. When `is_out_of_memory` is true of the error, `free_memory` is called
        first, once per batch, and even a batch of one item is then tried once more.
        """
        self._run = run
        self._max_batch = max_batch
        self._group_key = group_key
        self._is_out_of_memory = is_out_of_memory
        self._free_memory = free_memory
        self._queue: deque[_Entry[Item, Result]] = deque()
        self._has_leader = False
        self._changed = threading.Condition()

    def submit(self, item: Item) -> Future[TimedResult[Result]]:
        """Queue an item, to be run by any thread inside `wait`; until then it can be cancelled."""
        entry: _Entry[Item, Result] = _Entry(item=item)
        with self._changed:
            self._queue.append(entry)
        return entry.future

    def wait(self, future: Future[TimedResult[Result]]) -> TimedResult[Result]:
        """Return the result of a queued item, leading batches while the batcher is idle.

        Raises what `run` raised for this item, or `CancelledError`.
        """
        try:
            while True:
                with self._changed:
                    while self._has_leader and not future.done():
                        self._changed.wait()
                    if future.done():
                        return future.result()
                    self._has_leader = True
                    batch = self._take_batch()
                self._lead(batch)
        finally:
            # An error's traceback refers to this frame; without this they keep each other alive.
            del future

    def _take_batch(self) -> list[_Entry[Item, Result]]:
        """Take the oldest item and those with its key from the queue, dropping cancelled ones."""
        batch: list[_Entry[Item, Result]] = []
        others: deque[_Entry[Item, Result]] = deque()
        while self._queue and (not batch or len(batch) < self._max_batch(batch[0].item)):
            entry = self._queue.popleft()
            if batch and self._group_key(entry.item) != self._group_key(batch[0].item):
                others.append(entry)
            elif entry.future.set_running_or_notify_cancel():
                batch.append(entry)
        self._queue.extendleft(reversed(others))
        return batch

    def _lead(self, batch: list[_Entry[Item, Result]]) -> None:
        """Run a batch, settle the future of every item in it, and give up the lead."""
        try:
            if batch:
                self._settle(batch, time.perf_counter(), retried=False)
        except BaseException as error:
            # Even an interrupt must not leave the other threads of the batch waiting for ever.
            for entry in batch:
                if not entry.future.done():
                    entry.future.set_exception(error)
            if not isinstance(error, Exception):
                raise
        finally:
            with self._changed:
                self._has_leader = False
                self._changed.notify_all()

    def _settle(self, batch: list[_Entry[Item, Result]], started: float, *, retried: bool) -> None:
        """Run a batch; when it fails, run its halves."""
        results = self._try_run([entry.item for entry in batch])
        if not isinstance(results, Exception):
            run_seconds = time.perf_counter() - started
            for entry, result in zip(batch, results, strict=True):
                wait_seconds = started - entry.queued_at
                entry.future.set_result(TimedResult(result, wait_seconds, run_seconds))
            return
        must_free = self._is_out_of_memory(results) and not retried
        if len(batch) == 1 and not must_free:
            batch[0].future.set_exception(results)
            return
        # The error's traceback keeps alive what the failed run allocated.
        del results
        if must_free:
            self._free_memory()
        middle = len(batch) // 2
        for half in (batch[:middle], batch[middle:]):
            if half:
                self._settle(half, started, retried=retried or must_free)

    def _try_run(self, items: list[Item]) -> Sequence[Result] | Exception:
        try:
            results = self._run(items)
        except Exception as error:  # noqa: BLE001 - returned to the caller, whatever its type
            return error
        if len(results) != len(items):
            return RuntimeError(f"expected {len(items)} results, found {len(results)}")
        return results
