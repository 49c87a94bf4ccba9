"""The output of `cutwork status`: queues, pending jobs and workers."""

import json
import time
from datetime import datetime
from typing import Any

import redis
import typer
from rich.markup import escape

from producer.cli.terminal import console, open_client, unreachable
from producer.client import Client
from producer.store.queue_status import QueueStatus, combine


def show_status(*, as_json: bool, every: float | None) -> None:
    """Print the status once, or again and again `every` so many seconds until Ctrl-C.

    A terminal shows only the latest one; elsewhere each begins with the time, and with JSON each is
    one line.
    """
    with open_client() as client:
        try:
            if every is None:
                _print(_read(client), as_json=as_json)
                return
            while True:
                facts = _read(client)
                if not as_json and console.is_terminal:
                    console.clear()
                elif not as_json:
                    console.print(f"{datetime.now().astimezone():%H:%M:%S}")
                _print(facts, as_json=as_json)
                time.sleep(every)
        except (redis.RedisError, OSError) as error:
            unreachable(client, error)
        except KeyboardInterrupt:
            if every is None:
                raise


def _read(client: Client) -> dict[str, Any]:
    queues = client.statuses()
    return _facts(combine(queues.values())) | {
        "pending": client.pending(),
        "queues": {name: _facts(status) for name, status in queues.items()},
        "workers": client.workers(),
    }


def _facts(queue: QueueStatus) -> dict[str, int | float | None]:
    return {
        "waiting": queue.waiting,
        "in_flight": queue.in_flight,
        "oldest_waiting_seconds": queue.oldest_waiting,
    }


def _print(facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(facts))
        return
    queues: dict[str, dict[str, Any]] = facts["queues"]
    lines = [
        ("waiting", f"{facts['waiting']}{_oldest(facts)}"),
        ("in flight", str(facts["in_flight"])),
    ]
    lines += [
        (name, f"{queue['waiting']} waiting{_oldest(queue)}; {queue['in_flight']} in flight")
        for name, queue in queues.items()
        if len(queues) > 1
    ]
    lines.append(("pending", f"{facts['pending']} submitted, no outcome yet"))
    lines.append(("workers", ", ".join(facts["workers"]) or "none responded within a second"))
    width = max(10, *(len(name) for name, _ in lines))
    for name, value in lines:
        console.print(f"[bold]{name:<{width}}[/] {escape(value)}")


def _oldest(facts: dict[str, Any]) -> str:
    age = facts["oldest_waiting_seconds"]
    return "" if age is None else f", the oldest for {age:.0f} s"
