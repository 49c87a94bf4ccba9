"""The Celery settings of producers and workers, read from the environment.

References: https://docs.celeryq.dev/en/stable/userguide/configuration.html and
https://docs.celeryq.dev/en/stable/getting-started/backends-and-brokers/redis.html
"""

import os
import re


def _whole_number(name: str, default: int, *, maximum: int) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= maximum:
        raise ValueError(f"{name}={text!r}: expected a whole number from 1 to {maximum}")
    return int(text)


def _names(variable: str, *, allowed: frozenset[str] | None = None) -> list[str]:
    names = [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]
    invalid = [name for name in names if not re.fullmatch("[a-z0-9-]{1,32}", name)]
    if invalid or (allowed and not allowed.issuperset(names)):
        expected = f"some of {', '.join(sorted(allowed))}" if allowed else "names of a-z, 0-9 and -"
        text = os.environ[variable]
        raise ValueError(f"{variable}={text!r}: expected {expected}, separated by commas")
    return names


# A job may run longer than this: a live worker renews its deliveries several times within the
# visibility timeout (worker/broker/unacked.py).
_visibility_timeout = _whole_number("CUTWORK_VISIBILITY_TIMEOUT", 120, maximum=86_400)
_broker_timeout = _whole_number("CUTWORK_BROKER_TIMEOUT", 10, maximum=600)

# No other application may use this Redis database, because kombu keeps the unacknowledged messages
# of a whole database under the same `unacked*` keys.
broker_url = os.environ.get("CUTWORK_BROKER_URL") or "redis://localhost:6379/0"
# Outcomes are stored in the ledger (producer/store/ledger.py). This backend is for canvases that
# need Celery results.
result_backend = broker_url
result_expires = 3600

broker_connection_retry_on_startup = True
broker_connection_max_retries = None
# A worker waits while Redis answers with READONLY or OOM, instead of ending.
broker_channel_error_retry = True

broker_transport_options = {
    # Seconds after which the jobs of a dead worker return to their queue.
    "visibility_timeout": _visibility_timeout,
    "sep": ":",
    "priority_steps": [0, 3, 6, 9],
    # Higher priorities first; within a priority the queues are served in turn.
    "queue_order_strategy": "round_robin",
    "socket_keepalive": True,
    # A connection that the network drops silently is noticed after twice this time: kombu's health
    # check runs once per period, and each call on a dead connection takes another one.
    "socket_timeout": _broker_timeout,
    "socket_connect_timeout": min(5, _broker_timeout),
    "health_check_interval": _broker_timeout,
    # By default kombu looks for messages of dead workers only every hundred seconds, and waits five
    # minutes for a worker that died while it was doing so.
    "unacked_restore_interval": min(5, _visibility_timeout),
    "unacked_restore_throttle": 1,
    "unacked_restore_limit": 100,
    "unacked_mutex_expire": 10,
    # Without `retry_on_timeout`, which would silently disable publishing in batches.
}
result_backend_transport_options = {"visibility_timeout": _visibility_timeout}
visibility_timeout = _visibility_timeout

# Only JSON, signed or not: deserializing a message must never be able to run code.
security_key = os.environ.get("CUTWORK_SIGNING_KEY") or None
security_certificate = os.environ.get("CUTWORK_SIGNING_CERTIFICATE") or None
security_cert_store = os.environ.get("CUTWORK_SIGNING_STORE") or None
task_serializer = "auth" if security_key else "json"
accept_content = [task_serializer]
result_serializer = "json"
result_accept_content = ["json"]

# The job classes with queues of their own, for separate workers: jobs of runs (bulk), jobs with
# `require_gpu` (gpu), and images that were too large for the worker that took them first (large).
_separate_classes = _names("CUTWORK_CLASSES", allowed=frozenset({"bulk", "gpu", "large"}))
# Services that share the workers. Each has queues of its own, which are served in turn.
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
_all_queues = {
    (name, f"cutwork.{name}{tenant}"): needs
    for tenant in ("", *(f".{name}" for name in _tenants))
    for name, needs in _classes.items()
}
job_queues = {
    queue: needs
    for (name, queue), needs in _all_queues.items()
    if {*name.split("-")} <= {"default", *_separate_classes}
}
# Recovery also searches these before a job counts as lost: a process that is configured with more
# classes may have sent it there.
known_queues = [queue for _, queue in _all_queues]

task_default_queue = "cutwork.default"
task_routes = {"cutwork.*": {"queue": "cutwork.default"}}
task_default_priority = 3

# A message is acknowledged after its outcome is stored, and redelivered if its worker dies before.
task_acks_late = True
task_reject_on_worker_lost = True
task_ignore_result = True

# Threads share the models of one process per GPU, and CUDA does not work after a fork.
worker_pool = "threads"
worker_concurrency = _whole_number("CUTWORK_CONCURRENCY", 4, maximum=1000)
worker_prefetch_multiplier = 1
worker_disable_prefetch = True
# A worker holds delayed retries beyond the number of its threads, but no more than these.
worker_eta_task_limit = 1000
worker_cancel_long_running_tasks_on_connection_loss = False
worker_send_task_events = False
worker_hijack_root_logger = True
