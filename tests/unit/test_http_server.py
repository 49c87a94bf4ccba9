"""A slow client of the metrics and health pages holds its thread for a bounded time."""

import io
import socket
from collections.abc import Iterator

import pytest

from producer.observability.http_server import DeadlineReader


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    client, server = socket.socketpair()
    with client, server:
        yield client, server


def test_the_deadline_holds_for_all_reads_together(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    client, server = pair
    now = iter([0.0, 4.0, 8.0, 10.5])  # The clock is read at the start and once for each read.
    reader = io.BufferedReader(DeadlineReader(server, 10, clock=lambda: next(now)))
    for part in (b"GET / HTTP/1.1\r\n", b"X-Slow: 1\r\n"):
        client.send(part)
        assert reader.readline() == part
    client.send(b"X-Slow: 2\r\n")
    with pytest.raises(TimeoutError):
        reader.readline()


def test_a_read_waits_no_longer_than_what_is_left(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    client, server = pair
    now = iter([0.0, 9.25])
    client.send(b"x")
    assert DeadlineReader(server, 10, clock=lambda: next(now)).readinto(bytearray(1)) == 1
    assert server.gettimeout() == 0.75
