"""Matting without OpenMP, in a process of its own."""

import subprocess
import sys

from tests.support.patience import PATIENCE


def test_without_openmp_one_thread_at_a_time() -> None:
    """In a process of its own: numba's layer is chosen once."""
    program = """
import sys
from concurrent.futures import ThreadPoolExecutor
sys.modules["numba.np.ufunc.omppool"] = sys.modules["numba.np.ufunc.tbbpool"] = None
import numba, numpy as np
from worker.imaging.matting.foreground import foreground_and_background
rgb, alpha = np.full((64, 64, 3), 90, np.uint8), np.full((64, 64), 0.5)
with ThreadPoolExecutor(4) as pool:
    list(pool.map(lambda _: foreground_and_background(rgb, alpha), range(50)))
print(numba.threading_layer())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.stdout == "workqueue\n", done.stderr
