"""The watchdog lets errors through."""

import pytest

from worker.models.watchdog import Watchdog


def test_errors_go_through() -> None:
    with pytest.raises(ValueError, match="its own"), Watchdog(timeout=60).watch("x"):
        raise ValueError("its own")
