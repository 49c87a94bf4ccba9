"""The Kubernetes overlays of this folder: built by Kustomize and validated by schemas.

The schemas are imported when they are used: they take seconds.
"""

from pathlib import Path
from typing import Any, Final

import yaml

from deploy.programs import kubectl, run

FOLDER: Final = Path(__file__).parent / "kubernetes"
OVERLAYS: Final = ("cpu", "gpu", "keda", "keda-redis", "sync")
OLDEST: Final = "1.31"
"""The oldest supported release of Kubernetes; the newest is the latest that has a schema."""

Manifest = dict[str, Any]

_KEDA: Final = ("ScaledObject", "TriggerAuthentication")


class ManifestInvalid(ValueError):
    """A manifest does not match its schema; the text names both."""


def build(overlay: Path) -> list[Manifest]:
    """Return what `kubectl apply -k` would send; raise `OSError` with Kustomize's message."""
    return list(yaml.safe_load_all(run(kubectl(), "kustomize", overlay)))


def validate(manifest: Manifest) -> None:
    """Raise `ManifestInvalid` unless the oldest and the newest Kubernetes, or KEDA, accept it."""
    if manifest["kind"] in _KEDA:
        _validate_keda(manifest)
        return
    import kubernetes_validate

    for version in (OLDEST, kubernetes_validate.latest_version()):
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            path = ".".join(str(part) for part in error.path)
            raise ManifestInvalid(
                f"{_name(manifest)}, {version}: {path}: {error.message}"
            ) from error


def _validate_keda(manifest: Manifest) -> None:
    """Validate a KEDA resource by models that were generated from KEDA's definitions."""
    from cloudcoil.models.keda import v1alpha1

    model: Any = getattr(v1alpha1, manifest["kind"])
    try:
        read = model.model_validate(manifest)
    except ValueError as error:
        raise ManifestInvalid(f"{_name(manifest)}: {error}") from error
    # The model silently drops unknown fields, as KEDA would.
    kept = read.model_dump(by_alias=True, exclude_unset=True, mode="json")
    if kept != manifest:
        raise ManifestInvalid(f"{_name(manifest)}: expected only known fields, kept {kept}")


def _name(manifest: Manifest) -> str:
    return f"{manifest['kind']} {manifest['metadata']['name']}"
