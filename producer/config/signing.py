"""Message signing with Celery's `auth` serializer; unsigned messages are then refused.

Source: https://docs.celeryq.dev/en/stable/userguide/security.html#message-signing. Celery's own
`setup_security` would also change the serializers of every other app in the process of a service.
This module therefore uses the classes behind it, which are internal to Celery;
`tests/unit/test_patched_places.py` checks that they have not changed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from celery.exceptions import ImproperlyConfigured, SecurityError
from celery.utils.serialization import b64decode
from kombu.serialization import register
from kombu.utils.encoding import ensure_bytes

from producer.config.settings import SettingsError, Signing

_SEPARATOR: Final = b"\x00\x01"
_JSON: Final = [b"application/json", b"utf-8"]
_PATTERNS: Final = ("*.pem", "*.crt")


def register_signing(signing: Signing | None) -> None:
    """Register a serializer `auth` in this process that signs and verifies with these files.

    With None nothing is signed. Raises `SettingsError` if a file is missing or invalid.
    """
    if signing is None:
        return
    try:
        from celery.security.certificate import Certificate, CertStore
        from celery.security.key import PrivateKey
        from celery.security.serialization import SecureSerializer
    except (ImportError, ImproperlyConfigured) as error:
        raise SettingsError(
            "CUTWORK_SIGNING_KEY: signing needs cryptography; install cutwork[signing]"
        ) from error
    store = CertStore()
    paths = sorted(path for pattern in _PATTERNS for path in signing.store.glob(pattern))
    if not paths:
        raise SettingsError(
            f"CUTWORK_SIGNING_STORE: expected a folder of certificates ({', '.join(_PATTERNS)}), "
            f"found none in {signing.store}"
        )
    for path in paths:
        with _naming("STORE", path):
            # An expired certificate may stay: Celery refuses the messages that it signed.
            store.add_cert(Certificate(path.read_text()))
    with _naming("KEY", signing.key):
        key = PrivateKey(signing.key.read_text())
    with _naming("CERTIFICATE", signing.certificate):
        serializer = SecureSerializer(key, Certificate(signing.certificate.read_text()), store)
        serializer.deserialize(serializer.serialize({}))

    def deserialize(data: bytes) -> Any:
        # Upstream, no known report: the signature covers the body, but not its content type and
        # encoding, in which the same bytes could have another meaning.
        if b64decode(ensure_bytes(data)).split(_SEPARATOR, 4)[2:4] != _JSON:
            raise SecurityError("expected signed JSON in UTF-8")
        return serializer.deserialize(data)

    register(
        "auth",
        serializer.serialize,  # type: ignore[arg-type]  # the stubs expect text
        deserialize,  # type: ignore[arg-type]  # the same
        content_type="application/data",
        content_encoding="utf-8",
    )


@contextmanager
def _naming(name: str, path: Path) -> Iterator[None]:
    """Turn errors inside the block into a `SettingsError` that names the variable and the file."""
    try:
        yield
    except (OSError, SecurityError, TypeError, ValueError) as error:
        raise SettingsError(
            f"CUTWORK_SIGNING_{name}: {path}: {error}; expected an RSA key without a password, its "
            "unexpired certificate, and a store with that certificate and all others to accept"
        ) from error
