"""The broker's URL, checked before two libraries read it, and with TLS always verified."""

import re
from typing import Final
from urllib.parse import parse_qs, urlsplit

import redis

_QUERY: Final = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs"}
"""What kombu, Celery's result store and redis-py all understand, and in the same way."""


def validate_broker_url(url: str) -> str:
    """The URL as all of them take it; `ValueError` says what is wrong with any other.

    kombu does not verify a `rediss://` server unless it is told to, redis-py does: both are told.
    """
    # Only what is known to be wrong: neither parser's own error names the variable.
    try:
        parts = urlsplit(url)
        sound = bool(parts.hostname) and (parts.port or 6379) > 0
    except ValueError:
        sound = False
    if not sound or not re.fullmatch(r"(/\d*)?", parts.path):
        raise ValueError("expected redis://[user:password@]host[:port][/database number]")
    query = parse_qs(parts.query, keep_blank_values=True)
    if query and parts.scheme != "rediss":
        raise ValueError(
            "expected no query after redis://; TLS is rediss://, the password goes before the @"
        )
    if not query.keys() <= _QUERY or any(len(values) > 1 for values in query.values()):
        raise ValueError(
            f"expected no other query than {', '.join(sorted(_QUERY))}, each once; the password "
            "goes before the @"
        )
    if parts.scheme != "rediss":
        return url
    if query.get("ssl_cert_reqs", ["required"]) != ["required"]:
        raise ValueError(
            "ssl_cert_reqs: expected required, found another; to trust a certificate of your own, "
            "name its file in ssl_ca_certs"
        )
    if "ssl_cert_reqs" in query:
        return url
    return f"{url}{'&' if query else '' if url.endswith('?') else '?'}ssl_cert_reqs=required"


def failure_verb(error: object) -> str:
    """What a broker does that cannot be used: it `refuses`, or `does not answer`."""
    return "refuses" if isinstance(error, redis.ResponseError) else "does not answer"


def failure_advice(error: object) -> str:
    """What to do about a broker that cannot be reached, or refuses a command."""
    if isinstance(error, redis.ResponseError):
        return (
            "expected a server that takes writes, the rights of deploy/redis.acl, and a database "
            "that nothing else writes to"
        )
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return (
            "add ?ssl_ca_certs=FILE with the authority that signed its certificate to "
            "CUTWORK_BROKER_URL, and name the host as the certificate does"
        )
    return "is it running, and is CUTWORK_BROKER_URL right?"
