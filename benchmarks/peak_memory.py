"""The peak memory of a process."""

import re
from pathlib import Path


def peak_memory(pid: int) -> int:
    """Return the peak resident memory of a running process in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    match = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    if match is None:
        raise RuntimeError(f"expected VmHWM in the status of process {pid}, found none")
    return int(match[1]) * 1024
