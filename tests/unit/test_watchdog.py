"""The watchdog lets errors through."""

import pytest

from worker.models.watchdog import DeviceLost, Watchdog, no_watchdog


def test_errors_go_through() -> None:
    with pytest.raises(ValueError, match="its own"), Watchdog(timeout=60).watch("x"):
        raise ValueError("its own")
    with pytest.raises(DeviceLost), no_watchdog("x"):
        raise DeviceLost("nobody watches")
