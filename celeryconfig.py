"""Every Celery setting, for the producer and the worker alike, read from the environment.

Why each value is what it is: https://docs.celeryq.dev/en/stable/userguide/configuration.html and
https://docs.celeryq.dev/en/stable/getting-started/backends-and-brokers/redis.html
"""

import os
import re


def _whole_number(name: str, default: int, *, most: int) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise ValueError(f"{name}={text!r}: expected a whole number from 1 to {most}")
    return int(text)


def _names(variable: str, *, among: frozenset[str] | None = None) -> list[str]:
    names = [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]
    wrong = [name for name in names if not re.fullmatch("[a-z0-9-]{1,32}", name)]
    if wrong or (among and not among.issuperset(names)):
        expected = f"some of {', '.join(sorted(among))}" if among else "names of a-z, 0-9 and -"
        raise ValueError(f"{variable}={os.environ[variable]!r}: expected {expected}, with commas")
    return names


# A job may run longer: a live worker renews its deliveries several times within this period
# (worker/broker/unacked.py).
_visibility_timeout = _whole_number("CUTWORK_VISIBILITY_TIMEOUT", 120, most=86_400)
_broker_timeout = _whole_number("CUTWORK_BROKER_TIMEOUT", 10, most=600)

# One Redis database for this application alone: the `unacked*` keys belong to a whole database.
broker_url = os.environ.get("CUTWORK_BROKER_URL") or "redis://localhost:6379/0"
# Outcomes have their own store (producer/store/ledger.py); this backend serves canvases that ask
# for results.
result_backend = broker_url
result_expires = 3600

broker_connection_retry_on_startup = True
broker_connection_max_retries = None
# READONLY and OOM answers from Redis are waited out instead of ending the worker.
broker_channel_error_retry = True

broker_transport_options = {
    # A job held by a dead worker comes back after this many seconds.
    "visibility_timeout": _visibility_timeout,
    "sep": ":",
    "priority_steps": [0, 3, 6, 9],
    # By priority first; among queues of one priority, who was served last waits longest.
    "queue_order_strategy": "round_robin",
    "socket_keepalive": True,
    # A connection that a network swallowed without a word is noticed after twice this time: kombu
    # looks as often for an answer that is overdue, and each call on a dead one takes it too.
    "socket_timeout": _broker_timeout,
    "socket_connect_timeout": min(5, _broker_timeout),
    "health_check_interval": _broker_timeout,
    # kombu's own defaults look for what dead workers held only every hundred seconds, and wait five
    # minutes for a worker that died while it looked.
    "unacked_restore_interval": min(5, _visibility_timeout),
    "unacked_restore_throttle": 1,
    "unacked_restore_limit": 100,
    "unacked_mutex_expire": 10,
    # Not retry_on_timeout: it switches batch publishing off without a word.
}
result_backend_transport_options = {"visibility_timeout": _visibility_timeout}
visibility_timeout = _visibility_timeout

# JSON and nothing else, signed or not: a message must never be able to run code.
security_key = os.environ.get("CUTWORK_SIGNING_KEY") or None
security_certificate = os.environ.get("CUTWORK_SIGNING_CERTIFICATE") or None
security_cert_store = os.environ.get("CUTWORK_SIGNING_STORE") or None
task_serializer = "auth" if security_key else "json"
accept_content = [task_serializer]
result_serializer = "json"
result_accept_content = ["json"]

# The classes of jobs that wait apart, for workers of their own: those of runs (bulk), those that
# say `require_gpu` (gpu), and images too large for the worker that had them first (large).
_apart = _names("CUTWORK_CLASSES", among=frozenset({"bulk", "gpu", "large"}))
# Services that share the workers: each has queues of its own, served in turn.
_tenants = _names("CUTWORK_TENANTS")
# One queue per class, and the capabilities a worker needs to consume from it
# (producer/store/routes.py).
_classes = {
    "default": [],
    "bulk": [],
    "gpu": ["gpu"],
    "gpu-bulk": ["gpu"],
    "large": ["large"],
}
_every = {
    (name, f"cutwork.{name}{tenant}"): needs
    for tenant in ("", *(f".{name}" for name in _tenants))
    for name, needs in _classes.items()
}
job_queues = {
    queue: needs
    for (name, queue), needs in _every.items()
    if {*name.split("-")} <= {"default", *_apart}
}
# Where others may have sent a job on to, who know of more classes: before it counts as lost.
known_queues = [queue for _, queue in _every]

task_default_queue = "cutwork.default"
task_routes = {"cutwork.*": {"queue": "cutwork.default"}}
task_default_priority = 3

# A message is acknowledged when its outcome is stored; if its worker dies first, it comes back.
task_acks_late = True
task_reject_on_worker_lost = True
task_ignore_result = True

# One process per GPU; threads share its models, and CUDA does not survive a fork.
worker_pool = "threads"
worker_concurrency = _whole_number("CUTWORK_CONCURRENCY", 4, most=1000)
worker_prefetch_multiplier = 1
worker_disable_prefetch = True
worker_cancel_long_running_tasks_on_connection_loss = False
worker_send_task_events = False
worker_hijack_root_logger = True
