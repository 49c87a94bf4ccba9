"""The Kubernetes overlays of this folder: built by Kustomize and validated by schemas."""

from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import yaml
from cloudcoil.models.keda.v1alpha1 import ScaledObject, TriggerAuthentication

from deploy.programs import kubectl, run

FOLDER: Final = Path(__file__).parent / "kubernetes"
OVERLAYS: Final = ("cpu", "gpu", "keda", "keda-redis", "sync")
OLDEST: Final = "1.31"
"""The oldest supported release of Kubernetes; the newest is the latest that has a schema."""

Manifest = dict[str, Any]

_KEDA: Final = {"ScaledObject": ScaledObject, "TriggerAuthentication": TriggerAuthentication}


class ManifestInvalid(ValueError):
    """A manifest does not match its schema; the text names both."""


def build(overlay: Path) -> list[Manifest]:
    """Return what `kubectl apply -k` would send; raise `OSError` with Kustomize's message."""
    return list(yaml.safe_load_all(run(kubectl(), "kustomize", overlay)))


def validate(manifest: Manifest) -> None:
    """Raise `ManifestInvalid` unless the oldest and the newest Kubernetes, or KEDA, accept it."""
    if model := _KEDA.get(manifest["kind"]):
        _validate_keda(model, manifest)
        return
    for version in (OLDEST, kubernetes_validate.latest_version()):
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            path = ".".join(str(part) for part in error.path)
            raise ManifestInvalid(
                f"{_name(manifest)}, {version}: {path}: {error.message}"
            ) from error


def _validate_keda(model: Any, manifest: Manifest) -> None:
    """Validate a KEDA resource by models that were generated from KEDA's definitions."""
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
