"""Credentials taken out of a text: a log line, an outcome's sentence, what a terminal shows."""

import re
from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import quote, unquote, urlsplit

_HIDDEN: Final = "***"
_SHORTEST: Final = 6
"""Characters. A shorter password cannot be told from a word; in a URL it is found all the same."""
_VARIABLES: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_NAMES: Final = (
    r"x-amz-(?:signature|credential|security-token)|aws_?accesskeyid|accesskeyid|secretaccesskey|"
    r"sessiontoken|aws_\w*(?:key|token)\w*|authorization|password"
)
_VALUE: Final = r"(?:b?['\"])?(?:(?:AWS4-HMAC-SHA256|AWS|Basic|Bearer) )?[\w/+.%=~-]+"
_RULES: Final = (
    # A URL's user and password, whatever its scheme.
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/?#'\"]+@", re.I), rf"\1{_HIDDEN}@"),
    # A presigned query, a header, an element of XML, a member of JSON or of a Python dictionary.
    (re.compile(rf"(\b(?:{_NAMES})['\"]?\s*[=:>]\s*){_VALUE}", re.I), rf"\1{_HIDDEN}"),
    (re.compile(rf"(\b(?:signature|credential)=){_VALUE}", re.I), rf"\1{_HIDDEN}"),
    (re.compile(r"(\bsignature:\s*)[0-9a-f]{64}\b", re.I), rf"\1{_HIDDEN}"),
)


def redact(text: str, *, secrets: Collection[str] = ()) -> str:
    """The text without credentials: those of URLs and signed requests, and `secrets` as they are.

    >>> redacted("GET http://s3/a.jpg?X-Amz-Signature=0a1b&x=2")
    'GET http://s3/a.jpg?X-Amz-Signature=***&x=2'
    """
    for secret in secrets:
        text = text.replace(secret, _HIDDEN)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def secrets_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The credentials in these variables, the longest first, as they are and quoted for a URL."""
    found = {environment.get(name, "") for name in _VARIABLES}
    url = environment.get("CUTWORK_BROKER_URL", "")
    try:
        found.add(unquote(urlsplit(url).password or ""))
    except ValueError:
        found.add(url)  # No URL, so nobody knows which part of it is the password.
    found |= {quote(secret, safe="") for secret in found}
    return tuple(sorted((s for s in found if len(s) >= _SHORTEST), key=len, reverse=True))
