"""Install packages into the environment of this Python with uv, configured as pip is.

    .venv/bin/python deploy/install.py --constraint constraints.txt --editable '.[demo]'

uv downloads and unpacks in parallel, and prints what it downloads. It does not read pip's
configuration, which may name another index, folders with wheels, a proxy or certificates: this file
hands them on. It needs the standard library alone.
"""

import ast
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

VARIABLES: Final[Mapping[str, str]] = {
    "index-url": "UV_DEFAULT_INDEX",
    "find-links": "UV_FIND_LINKS",
    "proxy": "ALL_PROXY",
    "cert": "SSL_CERT_FILE",
}
"""uv's variable for each setting of pip. Other indexes of pip are left out: every package that
Cutwork needs is in the first one."""


def uv_variables(configuration: str) -> dict[str, str]:
    """Return uv's variables for the output of `pip config list`, whose later lines prevail.

    A line is `SECTION.KEY='VALUE'`; the section `:env:` stands for the variables `PIP_…`.
    """
    variables = {}
    lines = sorted(configuration.splitlines(), key=lambda line: line.startswith(":env:"))
    for line in lines:
        key, _, value = line.partition("=")
        section, _, setting = key.rpartition(".")
        if section in {"global", "install", ":env:"} and setting in VARIABLES:
            text = str(ast.literal_eval(value))
            variables[VARIABLES[setting]] = (
                ",".join(text.split()) if setting == "find-links" else text
            )
    return variables


def main() -> None:
    """Run `uv pip install` with the arguments of this command."""
    folder = Path(sys.executable).parent
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"]
    configuration = subprocess.run(pip, stdout=subprocess.PIPE, text=True, check=True).stdout
    environment = uv_variables(configuration) | dict(os.environ)
    command = [str(folder / "uv"), "pip", "install", "--python", sys.executable, *sys.argv[1:]]
    os.execve(command[0], command, environment)  # noqa: S606 - the words are our own


if __name__ == "__main__":
    main()
