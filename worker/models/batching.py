"""Micro-batches: what waits while one runs is run together next. Generic over callables."""

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Turn(NamedTuple, Generic[Result]):
    """What became of one item."""

    result: Result
    waited: float
    """Seconds before its batch began."""
    ran: float
    """Seconds its batch took, further tries included."""


@dataclass(eq=False, kw_only=True)
class _Ticket(Generic[Item, Result]):
    item: Item
    queued: float = field(default_factory=time.perf_counter)
    future: Future[Turn[Result]] = field(default_factory=Future)


class Batcher(Generic[Item, Result]):
    """Runs items in batches, one batch at a time, in the threads that wait for them.

    Nothing waits for company: who finds nobody running runs what is there, first come first served,
    and then, while its own result is not there, the next batch. There is no thread and no timer.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Sequence[Result]],
        *,
        most: Callable[[Item], int],
        kind: Callable[[Item], Hashable],
        out_of_memory: Callable[[Exception], bool],
        relieve: Callable[[], None],
    ) -> None:
        """`run` gives a result for each item. A batch has items of one `kind`, at most `most`.

        `most` is asked of the first of them.

        Where `run` raises, the batch is halved to find the item it is about, which fails alone.
        Where that is for want of memory, `relieve` is called first, once a batch, and a batch of
        one tried once more.
        """
        self._run = run
        self._most = most
        self._kind = kind
        self._out_of_memory = out_of_memory
        self._relieve = relieve
        self._waiting: deque[_Ticket[Item, Result]] = deque()
        self._busy = False
        self._changed = threading.Condition()

    def submit(self, item: Item) -> Future[Turn[Result]]:
        """Queue an item. It runs while anybody is in `wait`; until then it can be cancelled."""
        ticket: _Ticket[Item, Result] = _Ticket(item=item)
        with self._changed:
            self._waiting.append(ticket)
        return ticket.future

    def wait(self, future: Future[Turn[Result]]) -> Turn[Result]:
        """The result of a queued item; raises what `run` raised for it, or `CancelledError`."""
        try:
            while True:
                with self._changed:
                    while self._busy and not future.done():
                        self._changed.wait()
                    if future.done():
                        return future.result()
                    self._busy = True
                    batch = self._take()
                self._lead(batch)
        finally:
            del future  # Its error's traceback would hold it, and it the error.

    def _take(self) -> list[_Ticket[Item, Result]]:
        """The next batch: the oldest item, and those of its kind; what was cancelled goes."""
        batch: list[_Ticket[Item, Result]] = []
        others: deque[_Ticket[Item, Result]] = deque()
        while self._waiting and (not batch or len(batch) < self._most(batch[0].item)):
            ticket = self._waiting.popleft()
            if batch and self._kind(ticket.item) != self._kind(batch[0].item):
                others.append(ticket)
            elif ticket.future.set_running_or_notify_cancel():
                batch.append(ticket)
        self._waiting.extendleft(reversed(others))
        return batch

    def _lead(self, batch: list[_Ticket[Item, Result]]) -> None:
        """Run a batch for everybody in it."""
        try:
            if batch:
                self._settle(batch, began=time.perf_counter(), relieved=False)
        except BaseException as error:
            # Whatever it is, nobody may wait for ever.
            for ticket in batch:
                if not ticket.future.done():
                    ticket.future.set_exception(error)
            if not isinstance(error, Exception):
                raise
        finally:
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _settle(self, batch: list[_Ticket[Item, Result]], *, began: float, relieved: bool) -> None:
        found = self._attempt([ticket.item for ticket in batch])
        if not isinstance(found, Exception):
            ran = time.perf_counter() - began
            for ticket, result in zip(batch, found, strict=True):
                ticket.future.set_result(Turn(result, began - ticket.queued, ran))
            return
        again = self._out_of_memory(found) and not relieved
        if len(batch) == 1 and not again:
            batch[0].future.set_exception(found)
            return
        # With its traceback goes what the failed run still held.
        del found
        if again:
            self._relieve()
        middle = len(batch) // 2
        for part in (batch[:middle], batch[middle:]):
            if part:
                self._settle(part, began=began, relieved=relieved or again)

    def _attempt(self, items: list[Item]) -> Sequence[Result] | Exception:
        try:
            results = self._run(items)
        except Exception as error:  # noqa: BLE001 - it is the caller's, of whatever kind
            return error
        if len(results) != len(items):
            return RuntimeError(f"expected {len(items)} results, found {len(results)}")
        return results
