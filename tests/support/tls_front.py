"""A TLS proxy before a server without TLS, as in front of a broker."""

import asyncio
import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.child import Child
from deploy.local import free_ports
from tests.support.patience import PATIENCE


@contextmanager
def tls_front(port: int, *, folder: Path, name: str) -> Iterator[int]:
    """Open a port of 127.0.0.1 that terminates TLS and forwards to `port`.

    `folder` contains the certificate `name.pem` and the key `name.key`.
    """
    (front,) = free_ports(1)
    paths = [str(folder / f"{name}.{suffix}") for suffix in ("pem", "key")]
    command = [sys.executable, "-m", "tests.support.tls_front", str(front), str(port), *paths]
    child = Child("tls", command, log=folder / f"{name}-front.log")

    def ready() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", front)) == 0

    try:
        child.wait_until(ready, timeout=PATIENCE)
        yield front
    finally:
        child.stop(grace=0)


async def _hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # Either side has closed the connection.
    finally:
        writer.close()


async def _serve(front: int, port: int, certificate: str, key: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, before = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_hand_on(reader, before), _hand_on(behind, writer))

    server = await asyncio.start_server(take, "127.0.0.1", front, ssl=context)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:5]))
