"""Messages signed with Celery's `auth` serializer, which then are the only ones taken.

Source: https://docs.celeryq.dev/en/stable/userguide/security.html#message-signing. Celery's own
`setup_security` would also change the serializers of every other app in a service's process.
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
    """Make Celery's `auth` sign and verify with these files, for this process.

    `SettingsError` says what is wrong with them. With None nothing is signed.
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
    for path in _certificates(signing.store):
        with _named("STORE", path):
            # One that has expired may stay: Celery refuses what it signed.
            store.add_cert(Certificate(path.read_text()))
    with _named("KEY", signing.key):
        key = PrivateKey(signing.key.read_text())
    with _named("CERTIFICATE", signing.certificate):
        serializer = SecureSerializer(key, Certificate(signing.certificate.read_text()), store)
        serializer.deserialize(serializer.serialize({}))

    def deserialize(data: bytes) -> Any:
        # What is signed is the text alone; read in another encoding it could say something else.
        if b64decode(ensure_bytes(data)).split(_SEPARATOR, 4)[2:4] != _JSON:
            raise SecurityError("expected signed JSON in UTF-8")
        return serializer.deserialize(data)

    register(
        "auth",
        serializer.serialize,  # type: ignore[arg-type]  # the stubs know text alone
        deserialize,  # type: ignore[arg-type]  # the same
        content_type="application/data",
        content_encoding="utf-8",
    )


def _certificates(folder: Path) -> list[Path]:
    found = sorted(path for pattern in _PATTERNS for path in folder.glob(pattern))
    if not found:
        raise SettingsError(
            f"CUTWORK_SIGNING_STORE: expected a folder of certificates ({', '.join(_PATTERNS)}), "
            f"found none in {folder}"
        )
    return found


@contextmanager
def _named(name: str, path: Path) -> Iterator[None]:
    """Have every error say which variable led to which file."""
    try:
        yield
    except (OSError, SecurityError, TypeError, ValueError) as error:
        raise SettingsError(
            f"CUTWORK_SIGNING_{name}: {path}: {error}; expected an RSA key without a password, its "
            "certificate, not expired, and a store that holds that certificate and the others'"
        ) from error
