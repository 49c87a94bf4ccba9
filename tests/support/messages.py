"""Messages as kombu writes them, well-formed and mutated."""

import base64
import copy
import itertools
import json
import random
from collections.abc import Iterator
from typing import Any, Final

from producer.contract.job import QUEUE, TASK_NAME

NUMBERS = itertools.count()


def message(
    body: object,
    *,
    raw: bytes | None = None,
    headers: dict[str, Any] | None = None,
    properties: dict[str, Any] | None = None,
    top: dict[str, Any] | None = None,
) -> str:
    """Return a message as kombu writes it around a body, with some of its parts replaced."""
    number = next(NUMBERS)
    data = json.dumps(body).encode() if raw is None else raw
    fields = {
        "body": base64.b64encode(data).decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"id": f"x{number}", "task": TASK_NAME, "lang": "py"} | (headers or {}),
        "properties": {
            "delivery_info": {"exchange": "", "routing_key": QUEUE},
            "delivery_tag": f"tag-{number}",
            "body_encoding": "base64",
        }
        | (properties or {}),
    }
    return json.dumps(fields | (top or {}))


_ODD: Final[list[Any]] = [
    *(None, True, 0, -1, 1e300, 10**40, "", "x", "\ud800", "x" * 300, [], [[]], ["a"], [{}], {}),
    *({"a": 1}, [None], {"__type__": "decimal", "__value__": "1e1000000000"}),
    *({"__type__": [], "__value__": {}}, {"__type__": "datetime", "__value__": "x"}),
    *("2999-01-01T00:00:00+00:00", "2000-01-01T00:00:00", "chord", "cutwork.segment"),
]


def signature(task: str = "shop.publish", **fields: Any) -> dict[str, Any]:
    """Return a signature as Celery writes it."""
    empty: dict[str, Any] = {"args": [], "kwargs": {}, "subtask_type": None, "immutable": False}
    return {"task": task, "options": {"queue": "shop"}} | empty | fields


def whole_message() -> dict[str, Any]:
    """Return the headers, properties and body of a message with every kind of signature."""
    group = signature(
        "celery.group", kwargs={"tasks": [signature(), signature()]}, subtask_type="group"
    )
    chord = signature(
        "celery.chord",
        kwargs={"header": group, "body": signature(), "kwargs": {}},
        subtask_type="chord",
    )
    chain = signature(
        "celery.chain", kwargs={"tasks": [signature(), copy.deepcopy(chord)]}, subtask_type="chain"
    )
    linked = signature(
        options={
            "queue": "shop",
            "countdown": 1,
            "eta": None,
            "task_id": "t",
            "link": [signature()],
            "link_error": [signature()],
            "priority": 3,
            "headers": {"a": "b"},
        }
    )
    embed = {"callbacks": [linked, group], "errbacks": [signature()], "chain": [chord, chain]}
    headers = {"id": "x", "task": TASK_NAME, "retries": 0, "eta": None, "expires": None}
    headers |= {"root_id": "r", "parent_id": None, "group": None, "timelimit": [None, None]}
    headers |= {"stamped_headers": [], "stamps": {}, "ignore_result": False, "argsrepr": "()"}
    properties = {"correlation_id": "x", "reply_to": "", "priority": 3, "delivery_mode": 2}
    properties |= {"delivery_info": {"exchange": "", "routing_key": QUEUE}}
    return {
        "headers": headers,
        "properties": properties,
        "body": [[{"source": 5}], {}, embed | {"chord": None}],
    }


def mutated_messages(*, seed: int, count: int) -> Iterator[str]:
    """Yield messages with one to three of their parts replaced, removed or added, at any depth."""
    chosen = random.Random(seed)
    for number in range(count):
        parts = whole_message()
        parts["headers"]["id"] = f"mutant-{seed}-{number}"
        for _ in range(chosen.randint(1, 3)):
            _mutate(parts[chosen.choice(["headers", "properties", "body", "body"])], chosen)
        yield message(parts["body"], headers=parts["headers"], properties=parts["properties"])


def _mutate(value: Any, chosen: random.Random) -> None:
    keys: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value)))
    if not keys:
        return
    key = chosen.choice(keys)
    if isinstance(value[key], dict | list) and value[key] and chosen.random() < 0.8:
        _mutate(value[key], chosen)
    elif isinstance(value, dict) and chosen.random() < 0.2:
        del value[key]
    elif isinstance(value, dict) and chosen.random() < 0.3:
        value[chosen.choice(["chain", "link", "chord", "options", "update", "queue", "eta"])] = (
            copy.deepcopy(chosen.choice(_ODD))
        )
    else:
        value[key] = copy.deepcopy(chosen.choice(_ODD))
