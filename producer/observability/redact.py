"""Removal of credentials from texts: log lines, outcomes, terminal output."""

import json
import os
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import quote, quote_plus, unquote, urlsplit
from xml.sax.saxutils import escape as escape_xml

from producer.contract.untrusted_text import bound, escape_unprintable

_HIDDEN: Final = "***"
_PERCENT: Final = re.compile("%[0-9A-F]{2}")
_SHORTEST: Final = 6
"""Characters. A shorter password could be an ordinary word; in a URL it is hidden anyway."""
_VARIABLES: Final = tuple(
    prefix + name
    for prefix in ("AWS_", "CUTWORK_SOURCE_AWS_")
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN")
)
_NAMES: Final = (
    r"x-amz-(?:signature|credential|security-token)|aws_?accesskeyid|accesskeyid|secretaccesskey|"
    r"sessiontoken|aws_\w{0,64}?(?:key|token)\w{0,64}|authorization|password"
)
_VALUE: Final = r"(?:b?['\"])?(?:(?:AWS4-HMAC-SHA256|AWS|Basic|Bearer) )?[\w/+.%=~-]+"
# No rule takes more than linear time, as texts are untrusted: every repetition is bounded, or ends
# where the next match can begin.
_RULES: Final = (
    # User and password of a URL of any scheme, but not the placeholder of our own help.
    (re.compile(r"([a-z0-9+.-]://)(?!\[user:password@\])[^\s/?#'\"]+@", re.I), rf"\1{_HIDDEN}@"),
    # In a presigned query, a header, an XML element, JSON, or a Python dictionary; `expected`
    # begins our own sentences about a variable.
    (re.compile(rf"(\b(?:{_NAMES})['\"]?\s*[=:>]\s*)(?!expected ){_VALUE}", re.I), rf"\1{_HIDDEN}"),
    (re.compile(rf"(\b(?:signature|credential)=){_VALUE}", re.I), rf"\1{_HIDDEN}"),
    (re.compile(r"(\bsignature:\s*)[0-9a-f]{64}\b", re.I), rf"\1{_HIDDEN}"),
)


def redact(text: str, *, secrets: Collection[str] = ()) -> str:
    """Return the text without the credentials of URLs and signed requests, and without `secrets`.

    >>> redact("GET http://s3/a.jpg?X-Amz-Signature=0a1b&x=2")
    'GET http://s3/a.jpg?X-Amz-Signature=***&x=2'
    """
    for secret in secrets:
        text = text.replace(secret, _HIDDEN)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def redact_line(
    text: str,
    limit: int,
    *,
    secrets: Collection[str] = (),
    escape: Callable[[str], str] = escape_unprintable,
) -> str:
    """Return the text without credentials, escaped, in at most `limit` bytes; see `bound`."""
    return bound(text, limit, hide=lambda part: redact(part, secrets=secrets), escape=escape)


def secrets_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the credentials in an environment, longest first, in every spelling that texts have.

    These are the credentials of the object stores, and the passwords in URLs of any variable.
    """
    secrets = {environment.get(name, "") for name in _VARIABLES}
    broker_url = environment.get("CUTWORK_BROKER_URL", "")
    for value in environment.values():
        if value != broker_url and not ("://" in value and "@" in value):
            continue
        try:
            parts = urlsplit(value)
            user, password = unquote(parts.username or ""), unquote(parts.password or "")
        except ValueError:
            secrets.add(value)  # Not a URL, so any part of it may be the password.
            continue
        secrets.add(password)
        if len(password.strip()) >= _SHORTEST:
            secrets.add(f"{user}:{password}")
    spellings = {text for secret in secrets for text in _spellings(secret)}
    return tuple(sorted((s for s in spellings if len(s) >= _SHORTEST), key=len, reverse=True))


def _spellings(secret: str) -> Iterator[str]:
    """Yield a secret as it is, without a line end, escaped, percent-encoded, and in Base64."""
    for text in {secret, secret.strip()}:
        if len(text) < _SHORTEST:
            continue
        quoted = [quote(text, safe=""), quote(text), quote_plus(text)]
        yield from (text, repr(text)[1:-1], escape_unprintable(text), json.dumps(text)[1:-1])
        yield from (json.dumps(text, ensure_ascii=False)[1:-1], escape_xml(text))
        yield repr(text.encode(errors="surrogateescape"))[2:-1]
        yield from quoted
        yield from (_PERCENT.sub(lambda code: code[0].lower(), one) for one in quoted)
        yield from (quote(one, safe="") for one in quoted)
        for encode in (b64encode, urlsafe_b64encode):
            yield encode(text.encode(errors="surrogateescape")).decode().rstrip("=")


def environment_secrets() -> tuple[str, ...]:
    """Return the credentials in this process's environment, as `secrets_of` does."""
    return _secrets_of(frozenset(os.environ.items()))


@lru_cache(maxsize=1)
def _secrets_of(environment: frozenset[tuple[str, str]]) -> tuple[str, ...]:
    return secrets_of(dict(environment))
