"""Removal of credentials from texts: log lines, outcomes, terminal output."""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from producer.contract.untrusted_text import bound, escape_unprintable

_HIDDEN: Final = "***"
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
    # User and password of a URL of any scheme.
    (re.compile(r"([a-z0-9+.-]://)[^\s/?#'\"]+@", re.I), rf"\1{_HIDDEN}@"),
    # In a presigned query, a header, an XML element, JSON, or a Python dictionary.
    (re.compile(rf"(\b(?:{_NAMES})['\"]?\s*[=:>]\s*){_VALUE}", re.I), rf"\1{_HIDDEN}"),
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
    """Return the credentials in an environment, longest first, plain and quoted for URLs."""
    secrets = {environment.get(name, "") for name in _VARIABLES}
    url = environment.get("CUTWORK_BROKER_URL", "")
    try:
        secrets.add(unquote(urlsplit(url).password or ""))
    except ValueError:
        secrets.add(url)  # Not a URL, so any part of it may be the password.
    secrets |= {quote(secret, safe="") for secret in secrets}
    return tuple(sorted((s for s in secrets if len(s) >= _SHORTEST), key=len, reverse=True))
