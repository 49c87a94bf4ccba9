"""A TCP proxy before the broker that resets or black-holes connections, or loses a delivery."""

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
"""The beginning of a BRPOP response that contains a message."""
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with a timeout of zero: closing sends RST instead of FIN."""


@dataclass(eq=False)
class _Pair:
    """A client's connection and the corresponding one to the server."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    dead: bool = False
    """Data from either side is read and dropped, and neither end learns of a close."""
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


class TcpProxy:
    """Forwards TCP connections to a local port; a context manager."""

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
        """Reset every connection with RST."""
        self._call(self._reset)

    def black_hole(self) -> None:
        """Drop all data from now on, on new connections too."""
        self._call(lambda: self._swallow(on=True))

    def heal(self) -> None:
        """Forward new connections again; those of the black hole stay silently dead.

        This is what a firewall does that has forgotten a connection: both ends believe that it is
        open, and the client must detect by timeouts that it is not.
        """
        self._call(lambda: self._swallow(on=False))

    def lose_next_delivery(self) -> None:
        """Drop the next message to a worker and reset its connection; set `delivery_lost` then.

        The message has left its list, and no worker records it as unacknowledged.
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
            sock: socket.socket | None = writer.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
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
