"""Credentials that cannot be right are refused by the name of their variable."""

import re
from collections.abc import Mapping
from typing import Final

from producer.config.settings import SettingsError

_NAMES: Final = ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN")
_UNUSABLE: Final = re.compile(r"[^!-~]")
"""Characters that no credential of an object store has; in a header they end the request."""


def require_usable_credentials(environment: Mapping[str, str], *, prefix: str = "AWS_") -> None:
    """Raise `SettingsError` if a credential has white space or a character outside ASCII.

    A secret that was made with `echo` ends in a line end, for instance.
    """
    for name in (prefix + name for name in _NAMES):
        value = environment.get(name, "")
        if found := _UNUSABLE.search(value):
            place = "at its end" if found.end() == len(value) else f"as character {found.end():,}"
            kind = "a line end" if found[0] in "\r\n" else f"U+{ord(found[0]):04X}"
            raise SettingsError(
                f"{name}: expected printable ASCII characters without spaces, found {kind} "
                f"{place}; write the secret without it, for instance with `printf %s` instead of "
                "`echo`"
            )
