"""The places that patches of other libraries rely on are still where the patches expect them.

A failure means that a new version of the library changed such a place: look at the named patch
again, adapt or remove it, run its tests, and then update the row here and `pyproject.toml`.
"""

import hashlib
import importlib
import inspect
import re
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from kombu.transport import redis

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


class Place(NamedTuple):
    """A place in a library, what is expected there, and the patch that relies on it."""

    path: str
    """`module:name.name`; the last name may be an attribute of instances."""
    expected: str
    """The parameters of a callable, or the `repr` of a value; "" if it only has to exist."""
    patch: str


KOMBU = "worker/broker/kombu_patches.py"
QOS = "worker/broker/kombu_qos.py"
MESSAGE = "worker/broker/kombu_message.py"
REQUEST = "worker/broker/celery_request.py"
THREADS = "worker/broker/threads.py"
CONTROL = "worker/broker/control_commands.py"
CELERY = "worker/broker/celery_patches.py"
PILLOW = "worker/imaging/pillow_patches.py"
LENIENT = f"{PILLOW}: LenientPngStream"
MATTING = "worker/imaging/matting/kernels.py: _threading_layer"
SIGNING = "producer/config/signing.py"
DEADLINE = "producer/store/deadline.py"
CONNECTIONS = "producer/client/connections.py"

PLACES = [
    Place("redis:Connection._connect", "self", f"{DEADLINE}: DeadlineConnection"),
    Place("redis:SSLConnection._connect", "self", f"{DEADLINE}: DeadlineTLSConnection"),
    Place(
        "redis.retry:Retry.call_with_retry",
        "self, do, fail, is_retryable, with_failure_count",
        f"{DEADLINE}: DeadlineRetry",
    ),
    Place("kombu.transport.redis:Channel.connection_class", "", f"{CONNECTIONS}: _Channel"),
    Place("kombu.transport.redis:Channel.connection_class_ssl", "", f"{CONNECTIONS}: _Channel"),
    Place("kombu.transport:TRANSPORT_ALIASES", "", f"{KOMBU}: install"),
    Place("kombu.utils.json:_decoders", "", f"{MESSAGE}: keep_typed_values"),
    Place("kombu.utils.json:loads", "s, _loads, decode_bytes, object_hook", f"{QOS}: QoS"),
    Place(
        "kombu.transport.virtual.base:Message.__init__",
        "self, payload, channel, **kwargs",
        f"{MESSAGE}: Message",
    ),
    Place("kombu.transport.virtual.base:QoS._delivered", "", f"{QOS}: QoS.unacked_tags"),
    Place("kombu.transport.virtual.base:QoS._dirty", "", f"{QOS}: QoS.unacked_tags"),
    Place("kombu.transport.virtual.base:QoS._quick_ack", "", f"{QOS}: QoS.ack"),
    Place("kombu.transport.redis:QoS.append", "self, message, delivery_tag", f"{QOS}: QoS"),
    Place("kombu.transport.redis:QoS.pipe_or_acquire", "self, pipe, client", f"{QOS}: QoS.append"),
    Place(
        "kombu.transport.virtual.base:QoS.append",
        "self, message, delivery_tag",
        f"{QOS}: QoS.append",
    ),
    Place("kombu.transport.redis:QoS.ack", "self, delivery_tag", f"{QOS}: QoS.ack"),
    Place("kombu.transport.redis:QoS.reject", "self, delivery_tag, requeue", f"{QOS}: QoS"),
    Place(
        "kombu.transport.redis:QoS.restore_by_tag",
        "self, tag, client, leftmost",
        f"{QOS}: QoS.restore_by_tag",
    ),
    Place(
        "kombu.transport.redis:QoS._remove_from_indices",
        "self, delivery_tag, pipe",
        f"{QOS}: QoS.acknowledge",
    ),
    Place("kombu.transport.redis:QoS.visibility_timeout", "", f"{QOS}: QoS.visibility_timeout"),
    Place("kombu.transport.redis:Channel.conn_or_acquire", "self, client", f"{QOS}: QoS"),
    Place("kombu.transport.redis:Channel.unacked_key", "'unacked'", "producer/store"),
    Place("kombu.transport.redis:Channel.unacked_index_key", "'unacked_index'", "producer/store"),
    Place("kombu.transport.redis:Channel._q_for_pri", "self, queue, pri", "producer/store"),
    Place("kombu.transport.redis:Channel._in_poll", "False", f"{KOMBU}: Channel._basic_cancel"),
    Place("kombu.transport.redis:Channel.active_queues", "", f"{KOMBU}: Channel._basic_cancel"),
    Place("kombu.transport.redis:Channel.brpop_timeout", "", f"{KOMBU}: Channel._basic_cancel"),
    Place(
        "kombu.transport.redis:Channel._basic_cancel",
        "self, consumer_tag",
        f"{KOMBU}: Channel._basic_cancel",
    ),
    Place("kombu.transport.redis:Channel._brpop_read", "self, **options", f"{KOMBU}: Channel"),
    Place("kombu.transport.redis:Channel._flush_brpop_reauth", "self", f"{KOMBU}: _brpop_read"),
    Place("kombu.transport.redis:Channel._queue_cycle", "", f"{KOMBU}: _brpop_read"),
    Place(
        "kombu.transport.redis:Channel.basic_consume",
        "self, queue, *args, **kwargs",
        f"{KOMBU}: Channel.basic_consume",
    ),
    Place(
        "kombu.transport.virtual.base:Channel.basic_consume",
        "self, queue, no_ack, callback, consumer_tag, **kwargs",
        f"{KOMBU}: Channel.basic_consume",
    ),
    Place("kombu.message:Message._decoded_cache", "", f"{KOMBU}: Channel._take"),
    Place("kombu.transport.virtual.base:Transport._deliver", "self, message, queue", KOMBU),
    Place("kombu.utils.json:object_hook", "o", f"{MESSAGE}: keep_typed_values"),
    Place(
        "celery.worker.request:Request._announce_revoked",
        "self, reason, terminated, signum, expired",
        REQUEST,
    ),
    Place("celery.worker.request:Request._already_revoked", "False", REQUEST),
    Place(
        "celery.worker.request:Request.on_failure",
        "self, exc_info, send_failed_event, return_ok",
        REQUEST,
    ),
    Place("celery.worker.state:task_ready", "", f"{REQUEST}, {THREADS}"),
    Place("celery.concurrency:ALIASES", "", THREADS),
    Place(
        "celery.concurrency.thread:TaskPool.on_apply",
        "self, target, args, kwargs, callback, accept_callback, **_",
        THREADS,
    ),
    Place("celery.concurrency.thread:ApplyResult.__init__", "self, future", THREADS),
    Place("celery.worker.control:Panel.data", "", CONTROL),
    Place("celery.worker.control:Panel.meta", "", CONTROL),
    Place("celery.worker.control:revoke", "state, task_id, terminate, signal, **kwargs", CONTROL),
    Place(
        "celery.worker.control:revoke_by_stamped_headers",
        "state, headers, terminate, signal, **kwargs",
        CONTROL,
    ),
    Place(
        "celery.app.trace:setup_worker_optimizations",
        "app, hostname",
        "worker/runtime/celery_app.py: _apply_options",
    ),
    Place(
        "kombu.transport.redis:Channel._deliver_fanout_message",
        "self, message, exchange",
        f"{KOMBU}: Channel",
    ),
    Place("kombu.transport.redis:Channel.close", "self", f"{KOMBU}: Channel.close"),
    Place(
        "kombu.transport.redis:Transport.register_with_event_loop",
        "self, connection, loop",
        f"{KOMBU}: Transport",
    ),
    Place(
        "kombu.transport.redis:Transport.close_connection",
        "self, connection",
        f"{KOMBU}: Transport",
    ),
    Place(
        "celery.app.task:Task.Strategy", "'celery.worker.strategy:default'", f"{CELERY}: install"
    ),
    Place(
        "celery.worker.strategy:default",
        "task, app, consumer, info, error, task_reserved, to_system_tz, bytes, proto1_to_proto2",
        f"{CELERY}: checked_strategy",
    ),
    Place("celery.worker.state:should_stop", "None", f"{CELERY}: request_stop"),
    Place("celery.worker.state:maybe_shutdown", "", f"{CELERY}: request_stop"),
    Place("celery.apps.worker:install_worker_term_handler", "", f"{CELERY}: signals"),
    Place("kombu.asynchronous.hub:Hub.on_tick", "", f"{CELERY}: on_loop_turn"),
    Place("celery.worker.consumer.tasks:Tasks.start", "self, c", f"{CELERY}: consumer_qos"),
    Place(
        "celery.security.serialization:SecureSerializer.__init__",
        "self, key, cert, cert_store, digest, serializer",
        SIGNING,
    ),
    Place("celery.security.serialization:SecureSerializer.serialize", "self, data", SIGNING),
    Place("celery.security.serialization:SecureSerializer.deserialize", "self, data", SIGNING),
    Place("celery.security.serialization:DEFAULT_SEPARATOR", r"b'\x00\x01'", SIGNING),
    Place("celery.security.certificate:CertStore.add_cert", "self, cert", SIGNING),
    Place("kombu.messaging:Producer.batch", "self, max_size", "producer/store/publish.py"),
    Place("celery.app.amqp:AMQP.as_task_v2", "", "producer/store/publish.py"),
    Place("celery.app.amqp:AMQP.send_task_message", "", "producer/store/publish.py"),
    Place(
        "PIL.TiffImagePlugin:ImageFileDirectory_v2.load", "self, fp", f"{PILLOW}: BoundedDirectory"
    ),
    Place("PIL.TiffImagePlugin:ImageFileDirectory_v2.prefix", "", f"{PILLOW}: BoundedDirectory"),
    Place("PIL.TiffImagePlugin:ImageFileDirectory_v2._bigtiff", "", f"{PILLOW}: BoundedDirectory"),
    Place("PIL.PngImagePlugin:MAX_TEXT_CHUNK", "", f"{PILLOW}: install"),
    *(
        Place(
            f"PIL.PngImagePlugin:PngStream.chunk_{kind}",
            "self, pos, length",
            f"{PILLOW}: PngStreamWithoutTexts",
        )
        for kind in ("tEXt", "zTXt", "iTXt")
    ),
    Place("PIL.ImageFile:_safe_read", "fp, size", f"{PILLOW}: PngStreamWithoutTexts"),
    Place("PIL.PngImagePlugin:PngStream.chunk_tRNS", "self, pos, length", LENIENT),
    Place("PIL.PngImagePlugin:PngStream.call", "self, cid, pos, length", LENIENT),
    Place("PIL.PngImagePlugin:PngStream.crc", "self, cid, data", LENIENT),
    *(
        Place(f"PIL.PngImagePlugin:PngStream.{name}", "", LENIENT)
        for name in ("im_info", "im_mode", "im_palette", "im_tile")
    ),
    Place("numba.np.ufunc.omppool:__spec__", "", MATTING),
]


@pytest.mark.parametrize("place", PLACES, ids=[place.path for place in PLACES])
def test_a_patched_place_is_as_the_patch_expects(place: Place) -> None:
    module, _, names = place.path.partition(":")
    value: Any = importlib.import_module(module)
    for name in names.split("."):
        if inspect.isclass(value) and not hasattr(value, name):
            bases = [base for base in value.__mro__ if base.__module__ == module]
            has_name = any(f"self.{name} = " in inspect.getsource(base) for base in bases)
        else:
            has_name = hasattr(value, name)
        assert has_name, f"{place.path} is gone: look again at {place.patch}"
        value = inspect.getattr_static(value, name, None)
    actual = _parameters(value) if inspect.isroutine(value) else repr(value)
    assert not place.expected or actual == place.expected, (
        f"{place.path}: expected {place.expected}, found {actual}: look again at {place.patch}"
    )


def test_the_method_that_is_copied_is_as_it_was() -> None:
    channel: Any = redis.Channel
    source = inspect.getsource(channel._brpop_read)
    assert hashlib.sha256(source.encode()).hexdigest()[:16] == "c42518699709f2df", (
        f"kombu changed Channel._brpop_read: look again at its copy in {KOMBU}"
    )


@pytest.mark.parametrize("name", ["celery", "kombu", "numba", "pillow"])
def test_only_the_minor_version_that_was_tested_is_allowed(name: str) -> None:
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    dependencies = project["dependencies"] + project["optional-dependencies"]["model"]
    (bounds,) = [text for text in dependencies if re.match(rf"{name}[\[>]", text)]
    major, minor = version(name).split(".")[:2]
    assert bounds.endswith(f">={major}.{minor},<{major}.{int(minor) + 1}"), (
        f"pyproject.toml allows {bounds}, {name} {version(name)} is installed: "
        f"look again at every patch of {name} before the bound moves"
    )


def _parameters(function: Any) -> str:
    """Return the names of the parameters, starred as in a signature."""
    signature = inspect.signature(inspect.unwrap(getattr(function, "__func__", function)))
    stars: dict[Any, str] = {
        inspect.Parameter.VAR_POSITIONAL: "*",
        inspect.Parameter.VAR_KEYWORD: "**",
    }
    return ", ".join(stars.get(item.kind, "") + item.name for item in signature.parameters.values())
