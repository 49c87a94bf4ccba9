"""The machine on which a benchmark ran."""

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from worker.imaging.cores import usable_cores

_PACKAGES: Final = (
    *("cutwork", "celery", "numba", "numpy", "onnxruntime", "onnxruntime-gpu", "pillow"),
    *("pymatting", "pyvips", "rembg", "scipy", "torch"),
)


def machine() -> dict[str, str]:
    """Return processor, cores, memory, GPU and the relevant versions."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name = re.search(r"model name\s*: (.*)", info)
    vector = [each for each in ("amx_bf16", "avx512f", "avx2") if re.search(rf"\b{each}\b", info)]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    facts = {
        "processor": f"{name[1] if name else platform.processor()} ({', '.join(vector[:1])})",
        "cores": str(usable_cores()),
        "memory": f"{memory / 2**30:.0f} GiB",
        "gpu": gpu() or "none",
        "python": platform.python_version(),
    }
    for package in _PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            continue
    return facts


def gpu() -> str | None:
    """Return the first GPU's name and driver, or None without a GPU."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return output.stdout.splitlines()[0].strip() or None
