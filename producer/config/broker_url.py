"""Validation of the broker's URL, which always verifies TLS, and sentences about its failures."""

import re
from typing import Final
from urllib.parse import parse_qs, urlsplit

import redis
from redis.exceptions import AskError, ClusterCrossSlotError, ClusterError

_CLUSTER_ADVICE: Final = (
    "Redis Cluster is not supported, because scripts use several keys; use one server, or a "
    "managed one with cluster mode disabled"
)
_OTHER_SCHEMES: Final = {
    "valkey": "Valkey is reached with redis://",
    "valkeys": "Valkey with TLS is reached with rediss://",
    "redis+socket": "Unix sockets are not supported; give the server a TCP port",
    "unix": "Unix sockets are not supported; give the server a TCP port",
    "redis+tls": "TLS is rediss://",
    "redis+ssl": "TLS is rediss://",
    **dict.fromkeys(
        ("sentinel", "sentinels", "redis+sentinel", "redis-sentinel", "rediss+sentinel"),
        "Sentinel is not supported, because producers and workers know one address; name a proxy "
        "that follows the primary, or the primary endpoint of a managed service",
    ),
    **dict.fromkeys(
        ("redis-cluster", "rediss-cluster", "redis+cluster", "rediss+cluster"), _CLUSTER_ADVICE
    ),
    **dict.fromkeys(
        ("amqp", "amqps", "pyamqp", "sqs", "kafka", "confluentkafka", "memory", "filesystem"),
        "other brokers are not supported, because the pending jobs are stored in Redis too; use "
        "Redis or Valkey",
    ),
    **dict.fromkeys(
        ("http", "https", "tcp"), "that is no broker's scheme; Redis speaks its own protocol"
    ),
}
"""What to do instead of a URL with one of these schemes."""

_PARAMETERS: Final = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs"}
"""Query parameters that kombu, Celery's result backend and redis-py interpret alike."""


def validate_broker_url(url: str) -> str:
    """Return the URL with TLS verification; raise `ValueError`, whose text says what is wrong.

    Unlike redis-py, kombu verifies a `rediss://` server only with `ssl_cert_reqs=required`, which
    is therefore added.
    """
    url = url.strip()  # A secret that was made with `echo` ends in a line end.
    if not url.isprintable() or " " in url:
        raise ValueError(
            "expected a URL without white space; write spaces and line ends of a password as %20 "
            "and %0A"
        )
    if not url.startswith(("redis://", "rediss://")):
        scheme, separator, _ = url.partition("://")
        advice = _OTHER_SCHEMES.get(scheme.lower()) if separator else None
        expected = "expected a URL that begins with redis:// or rediss:// (with TLS)"
        raise ValueError(f"{expected}; {advice}" if advice else expected)
    # The errors of both libraries' parsers do not name the variable.
    try:
        parts = urlsplit(url)
        is_valid = bool(parts.hostname) and (parts.port or 6379) > 0
    except ValueError:
        is_valid = False
    if not is_valid or not re.fullmatch(r"(/\d*)?", parts.path):
        raise ValueError("expected redis://[user:password@]host[:port][/database number]")
    query = parse_qs(parts.query, keep_blank_values=True)
    if query and parts.scheme != "rediss":
        raise ValueError(
            "expected no query after redis://; TLS is rediss://, the password goes before the @"
        )
    if not query.keys() <= _PARAMETERS or any(len(values) > 1 for values in query.values()):
        raise ValueError(
            f"expected no other query than {', '.join(sorted(_PARAMETERS))}, each once; the "
            "password goes before the @"
        )
    if parts.scheme != "rediss":
        return url
    if query.get("ssl_cert_reqs", ["required"]) != ["required"]:
        raise ValueError(
            "ssl_cert_reqs: expected required; to trust your own certificate, name its file in "
            "ssl_ca_certs"
        )
    if "ssl_cert_reqs" in query:
        return url
    return f"{url}{'&' if query else '' if url.endswith('?') else '?'}ssl_cert_reqs=required"


def failure_verb(error: object) -> str:
    """Return what a failing broker does: it `refuses`, `is loading`, or `does not answer`."""
    if isinstance(error, redis.BusyLoadingError):
        return "is loading its data"
    is_refusal = isinstance(error, redis.ResponseError | redis.AuthenticationError | ClusterError)
    return "refuses" if is_refusal else "does not answer"


def failure_advice(error: object) -> str:
    """Return what to do about a broker that cannot be reached, or refuses a command."""
    if isinstance(error, redis.BusyLoadingError):
        return "wait until it has read its data from disk, and try again"
    if (advice := configuration_advice(error)) is not None:
        return advice
    if isinstance(error, redis.ResponseError):
        return (
            "expected a server that accepts writes, the rights of deploy/redis.acl, and a database "
            "that no other program writes to"
        )
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return (
            "add ?ssl_ca_certs=FILE with the authority that signed its certificate to "
            "CUTWORK_BROKER_URL, and name the host as the certificate does"
        )
    return "is it running, and is CUTWORK_BROKER_URL right?"


def configuration_advice(error: object) -> str | None:
    """Return what to change if the URL or the kind of server is wrong, None for other errors."""
    text = str(error)
    # A failover can answer MASTERDOWN for a while, without any cluster.
    is_cluster = isinstance(error, AskError | ClusterCrossSlotError | ClusterError)
    if "in cluster mode" in text or (
        is_cluster and not isinstance(error, redis.exceptions.MasterDownError)
    ):
        return _CLUSTER_ADVICE
    if "called without any password" in text or "no password is set" in text:
        return "the server has no password; remove it from CUTWORK_BROKER_URL"
    if isinstance(error, redis.AuthenticationError) or "'auth' command" in text.lower():
        return "correct user and password in CUTWORK_BROKER_URL"
    if "DB index" in text or "invalid DB" in text or text == "Invalid Database":
        return (
            "the number after the last / of CUTWORK_BROKER_URL is the database; use one below the "
            "server's setting `databases`, such as 0"
        )
    return None
