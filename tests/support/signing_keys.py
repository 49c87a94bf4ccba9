"""Keys and certificates of producers and workers that sign messages."""

import shutil
from pathlib import Path

from tests.support.certificates import write_pair


def write_signing_keys(folder: Path) -> Path:
    """Write keys of `producer`, `worker`, `late` (expired) and `stranger` (not in the store)."""
    for name, days in (("producer", 1), ("worker", 1), ("stranger", 1), ("late", -1)):
        write_pair(folder, name, days=days)
    (folder / "store").mkdir()
    for name in ("producer", "worker", "late"):
        shutil.copy(folder / f"{name}.pem", folder / "store")
    return folder


def signing_variables(keys: Path, name: str) -> dict[str, str]:
    """Return the environment variables with which `name` signs and verifies."""
    return {
        "CUTWORK_SIGNING_KEY": str(keys / f"{name}.key"),
        "CUTWORK_SIGNING_CERTIFICATE": str(keys / f"{name}.pem"),
        "CUTWORK_SIGNING_STORE": str(keys / "store"),
    }
