"""The watchdog lets errors through."""

import pytest

from worker.models.watchdog import DeviceLost, Watchdog, unwatched


def test_errors_go_through() -> None:
    with pytest.raises(ValueError, match="its own"), Watchdog(timeout=60).watching("x"):
        raise ValueError("its own")
    with pytest.raises(DeviceLost), unwatched("x"):
        raise DeviceLost("nobody watches")
