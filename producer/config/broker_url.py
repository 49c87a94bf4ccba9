"""Validation of the broker's URL, which always verifies TLS, and sentences about its failures."""

import re
from typing import Final
from urllib.parse import parse_qs, urlsplit

import redis

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
        raise ValueError("expected a URL that begins with redis:// or rediss://")
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
    """Return what a failing broker does: it `refuses`, or `does not answer`."""
    is_refusal = isinstance(error, redis.ResponseError | redis.AuthenticationError)
    return "refuses" if is_refusal else "does not answer"


def failure_advice(error: object) -> str:
    """Return what to do about a broker that cannot be reached, or refuses a command."""
    if isinstance(error, redis.ResponseError):
        return (
            "expected a server that accepts writes, the rights of deploy/redis.acl, and a database "
            "that no other program writes to"
        )
    if isinstance(error, redis.AuthenticationError):
        return "correct user and password in CUTWORK_BROKER_URL"
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return (
            "add ?ssl_ca_certs=FILE with the authority that signed its certificate to "
            "CUTWORK_BROKER_URL, and name the host as the certificate does"
        )
    return "is it running, and is CUTWORK_BROKER_URL right?"
