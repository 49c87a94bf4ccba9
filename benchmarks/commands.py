"""The `cutwork` command as a process of its own, for a broker and an S3 of this machine."""

import os
import sys
from pathlib import Path
from typing import Final

from deploy.child import Child
from deploy.local import LocalStack, own_environment

ROOT: Final = Path(__file__).parents[1]


def cutwork(stack: LocalStack, *arguments: str, log: Path, **variables: str) -> Child:
    """Start one command; its output goes to `log`."""
    env = {**own_environment(), **stack.environment(), **variables, "PYTHONPATH": str(ROOT)}
    env.setdefault("PATH", os.defpath)
    return Child("cutwork", [sys.executable, "-m", "producer", *arguments], log=log, env=env)
