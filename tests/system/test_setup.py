"""A fresh machine: `make` finds a Python, and children end with their parent."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.patience import PATIENCE

ROOT = Path(__file__).parents[2]
FINDER = ROOT / "deploy" / "find-python.sh"
SUITABLE = 'exec "$REAL" "$@"'
NO_ENSUREPIP = (
    'exec "$REAL" -c "import sys; sys.modules[\'ensurepip\'] = None; sys.argv.pop(0); '
    'exec(sys.argv.pop(1))" "$@"'
)


def older(version: str) -> str:
    """Return a command that stands for a Python of another version."""
    major, minor = version.split(".")
    code = f"import sys; sys.version_info = ({major}, {minor}, 0); exec(sys.argv[2])"
    return f'exec "$REAL" -c "{code}" "$@"'


def find(
    folder: Path, commands: dict[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run the finder on a machine that has these commands of Python and no others."""
    (folder / "sed").symlink_to(shutil.which("sed") or "/bin/sed")
    for name, script in commands.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return subprocess.run(
        ["/bin/sh", str(FINDER), *arguments],
        env={"PATH": str(folder), "REAL": sys.executable},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


@pytest.mark.parametrize(
    ("commands", "found"),
    [
        ({"python3": SUITABLE}, "python3"),
        ({"python3.12": SUITABLE}, "python3.12"),
        ({"python3.14": SUITABLE, "python3.11": SUITABLE}, "python3.14"),
        ({"python3": older("3.9"), "python3.13": SUITABLE}, "python3.13"),
        ({"python3": older("3.15"), "python3.11": SUITABLE}, "python3.11"),
        ({"python3": NO_ENSUREPIP, "python3.12": SUITABLE}, "python3.12"),
        # As pyenv's commands do, which exist for versions that are not selected.
        ({"python3": "echo 'not selected' >&2; exit 127", "python3.11": SUITABLE}, "python3.11"),
    ],
)
def test_the_first_suitable_python_is_found(
    tmp_path: Path, commands: dict[str, str], found: str
) -> None:
    done = find(tmp_path, commands)
    assert (done.stdout, done.stderr, done.returncode) == (f"{found}\n", "", 0)


def test_each_unsuitable_python_is_named_with_what_it_lacks(tmp_path: Path) -> None:
    commands = {
        "python3": older("3.9"),
        "python3.14": older("3.15"),
        "python3.12": "echo 'pyenv: python3.12: command not found' >&2; exit 127",
        "python3.11": NO_ENSUREPIP,
    }
    done = find(tmp_path, commands)
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert (done.returncode, done.stdout) == (1, "")
    first, *lines = done.stderr.splitlines()
    assert first.startswith("expected a Python from 3.11 to 3.14")
    assert lines == [
        "  python3 is Python 3.9",
        "  python3.14 is Python 3.15",
        "  python3.12 does not start: pyenv: python3.12: command not found",
        f"  python3.11 is Python {version} without the module ensurepip; on Debian and Ubuntu, "
        f"install the package python{version}-venv",
        "Install one, or name one: make PYTHON=/path/to/python3 …",
    ]


def test_a_machine_without_python_gets_a_sentence(tmp_path: Path) -> None:
    done = find(tmp_path, {})
    assert done.returncode == 1
    assert "found none of: python3 python3.14 python3.13 python3.12 python3.11" in done.stderr
    assert "make PYTHON=" in done.stderr


def test_make_uses_the_python_that_is_named(tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    done = subprocess.run(
        ["make", "PYTHON=/nowhere/python 3", f"VENV={environment}", f"{environment}/bin/pip"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert "found none of: /nowhere/python 3" in done.stderr
    assert done.returncode != 0


KILLED_PARENT = """
import os, signal, subprocess
from deploy.guard import guard
children = [subprocess.Popen(["sleep", "600"], start_new_session=True) for _ in range(2)]
for child in children:
    guard().add(child.pid)
children[0].kill()
children[0].wait()
guard().remove(children[0].pid)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_guard_kills_the_children_of_a_killed_parent() -> None:
    """A child holds the pipe of its output, so the end of the pipe is the end of the child."""
    command = [sys.executable, "-c", KILLED_PARENT]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stderr) == (-9, b"")


ORPHAN = """
import os, subprocess, sys
code = "from worker.models.process_end import kill_after; kill_after(%d)" % os.getpid()
subprocess.Popen([sys.executable, "-c", code])
"""


def test_a_process_kills_itself_after_its_parent_has_ended() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ORPHAN],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stderr) == (0, b"")
