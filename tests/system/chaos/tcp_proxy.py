"""A network to the broker that can be cut, or swallow everything, or lose one delivery."""

import asyncio
import re
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

_CHUNK: Final = 2**16
_DELIVERY: Final = re.compile(rb"\*2\r\n\$\d+\r\ncutwork\.default")
"""How the answer to a BRPOP begins that brings a message."""
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with no time at all: closing sends RST instead of FIN."""


@dataclass(eq=False)
class _Pair:
    """A client's connection and the one to the server that stands for it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    dead: bool = False
    """What comes on either side is read and goes nowhere, and no end is passed on."""
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


class TcpProxy:
    """Passes TCP connections on to a port of this machine; a context manager."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._pairs: set[_Pair] = set()
        self._swallows = False
        self._armed = False
        self.delivery_lost = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tcp-proxy")
        self._server: asyncio.Server | None = None
        self.port = 0

    def reset(self) -> None:
        """Cut every connection with RST."""
        self._call(self._reset)

    def black_hole(self) -> None:
        """From now on nothing passes and nothing answers, new connections included."""
        self._call(lambda: self._swallow(on=True))

    def heal(self) -> None:
        """New connections pass again; those of the black hole stay dead without a word.

        As behind a firewall that forgot them: whoever holds one must notice by himself, and the
        server still believes in its end.
        """
        self._call(lambda: self._swallow(on=False))

    def lose_next_delivery(self) -> None:
        """Drop the next message on its way to a worker, and cut that connection.

        It has left its list, and the worker that would write it down as unacknowledged has not
        heard of it. `delivery_lost` is set then.
        """
        self.delivery_lost.clear()
        self._armed = True

    def __enter__(self) -> Self:
        self._thread.start()
        starting = asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, action: object) -> None:
        async def run() -> None:
            assert callable(action)
            action()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    def _reset(self) -> None:
        for pair in list(self._pairs):
            self._cut(pair)

    def _swallow(self, *, on: bool) -> None:
        self._swallows = on
        for pair in self._pairs:
            pair.dead = pair.dead or on

    def _cut(self, pair: _Pair) -> None:
        self._pairs.discard(pair)
        for writer in (pair.client, pair.server):
            found: socket.socket | None = writer.get_extra_info("socket")
            if found is not None and found.fileno() >= 0:
                found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answers, server = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        pair = _Pair(writer, server, dead=self._swallows)
        self._pairs.add(pair)
        pair.tasks = [
            asyncio.create_task(self._pump(pair, reader, server)),
            asyncio.create_task(self._pump(pair, answers, writer)),
        ]

    async def _pump(
        self, pair: _Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(_CHUNK):
                if pair.dead:
                    continue
                if self._armed and writer is pair.client and _DELIVERY.match(data):
                    self._armed = False
                    self._cut(pair)
                    self.delivery_lost.set()
                    return
                writer.write(data)
                await writer.drain()
        if not pair.dead:
            self._pairs.discard(pair)
            for end in (pair.client, pair.server):
                end.close()

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
        tasks = [task for pair in self._pairs for task in pair.tasks]
        self._reset()
        await asyncio.gather(*tasks, return_exceptions=True)
