"""The most memory a process ever had."""

import re
from pathlib import Path


def peak_memory(pid: int) -> int:
    """Bytes of RAM, of a process that still runs."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"expected VmHWM in the status of process {pid}, found none")
    return int(found[1]) * 1024
