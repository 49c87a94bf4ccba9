"""The `cutwork` command as a child process, for a local broker and S3 server."""

import os
import sys
from pathlib import Path
from typing import Final

from deploy.child import Child
from deploy.local import LocalStack, own_environment

ROOT: Final = Path(__file__).parents[1]


def cutwork(stack: LocalStack, *arguments: str, log: Path, **variables: str) -> Child:
    """Start a command whose output goes to `log`."""
    env = {**own_environment(), **stack.environment(), **variables, "PYTHONPATH": str(ROOT)}
    env.setdefault("PATH", os.defpath)
    return Child("cutwork", [sys.executable, "-m", "producer", *arguments], log=log, env=env)
