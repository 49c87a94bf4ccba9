"""The worker's app with a PNG decoder that does not return for images with a certain text.

`decoding: hangs` does not end; `decoding: slow` ends once it is overdue.
"""

import time
from typing import Any

from PIL import PngImagePlugin

from worker import app
from worker.runtime import state

_load = PngImagePlugin.PngImageFile.load


def _hanging_load(self: PngImagePlugin.PngImageFile) -> Any:
    while self.info.get("decoding") == "hangs":
        time.sleep(1)
    while self.info.get("decoding") == "slow" and state.current().watchdog.overdue_stage() is None:
        time.sleep(0.05)
    return _load(self)


setattr(PngImagePlugin.PngImageFile, "load", _hanging_load)  # noqa: B010 - mypy lets no method be set

__all__ = ["app"]
