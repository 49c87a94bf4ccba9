"""A Chromium for the tests of a page, from PATH or else from an npm package.

The package has a headless build for Linux on x86-64, with libraries and a font that a minimal
machine lacks. It is unpacked into the user's cache.
"""

import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from platformdirs import user_cache_path
from playwright.sync_api import Browser, sync_playwright

PACKAGE: Final = "@sparticuz/chromium@153.0.0"
_UNPACK: Final = """
const { createReadStream, createWriteStream } = require("fs");
const { createBrotliDecompress } = require("zlib");
const { pipeline } = require("stream");
const [from, to] = process.argv.slice(1);
pipeline(createReadStream(from), createBrotliDecompress(), createWriteStream(to), (error) => {
  if (error) throw error;
});
"""
_FONTS: Final = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir prefix="relative">fonts</dir>
  <cachedir prefix="xdg">fontconfig</cachedir>
</fontconfig>
"""


class Chromium(NamedTuple):
    """A program and the environment variables that it needs in addition."""

    path: Path
    variables: dict[str, str]


def find_chromium(cache: Path) -> Chromium:
    """Return the `chromium` on PATH, else that of the package, unpacked into `cache` once.

    Raises `OSError` if there is no build for the machine, or the package cannot be fetched.
    """
    if installed := shutil.which("chromium"):
        return Chromium(Path(installed), {})
    folder = cache / PACKAGE.rpartition("/")[2].replace("@", "-")
    if not folder.is_dir():
        if (sys.platform, platform.machine()) != ("linux", "x86_64"):
            raise OSError(
                f"expected a chromium on PATH, found none, and {PACKAGE} has none for "
                f"{sys.platform} on {platform.machine()}; install Chromium"
            )
        _fetch(folder)
    variables = {"LD_LIBRARY_PATH": str(folder / "lib"), "FONTCONFIG_PATH": str(folder)}
    return Chromium(folder / "chromium", variables)


@contextmanager
def browser() -> Iterator[Browser]:
    """Start the browser without a window."""
    chromium = find_chromium(user_cache_path("cutwork"))
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=chromium.path, env={**os.environ, **chromium.variables}
        )
        try:
            yield started
        finally:
            started.close()


def _fetch(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".chromium-", dir=folder.parent) as temporary:
        work, whole = Path(temporary), Path(temporary) / "whole"
        whole.mkdir()
        _run("npm", "pack", "--silent", "--cache", str(work / "npm"), PACKAGE, cwd=work)
        with tarfile.open(next(work.glob("*.tgz"))) as package:
            package.extractall(work, filter="data")
        for name in ("chromium", "al2023.tar", "fonts.tar"):
            _run("node", "-e", _UNPACK, f"package/bin/{name}.br", f"whole/{name}", cwd=work)
        for name in ("al2023.tar", "fonts.tar"):
            with tarfile.open(whole / name) as archive:
                archive.extractall(whole, filter="data")
            (whole / name).unlink()
        (whole / "fonts.conf").write_text(_FONTS)
        (whole / "chromium").chmod(0o755)
        try:
            whole.rename(folder)  # atomic, so that a partial download never counts as a browser
        except OSError:
            if not folder.is_dir():  # otherwise another process was faster
                raise


def _run(*command: str, cwd: Path) -> None:
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, check=False, timeout=600
        )
    except FileNotFoundError as error:
        raise OSError(f"{command[0]} is not installed") from error
    if done.returncode != 0:
        raise OSError(f"{command[0]} ended with {done.returncode}: {done.stderr[-500:]}")
