"""The events that long-running code reports: for metrics, a log, or a terminal."""

from collections.abc import Mapping
from typing import Final, Literal


class Events:
    """A receiver of events; each method does nothing unless a subclass overrides it.

    Methods are called from the thread in which the event happens, so they must be thread-safe and
    must not block.
    """

    def image_bytes(self, direction: Literal["read", "written"], count: int) -> None:
        """`count` bytes of an image were read from the object store, or written to it."""

    def batch_ran(self, images: int, device: str) -> None:
        """A batch of `images` is passed to a device."""

    def model_used(self, model: str, *, loaded: bool) -> None:
        """A job uses a model; `loaded` says whether it had to be loaded first."""

    def process_ends(self, jobs: Mapping[str, str]) -> None:
        """The process ends in a few seconds, because a device or a stage of a job hangs.

        `jobs`: the ids of the jobs that may be the reason, and the stage of each.
        """

    def jobs_resent(self, count: int) -> None:
        """A recovery pass has ended; it sent `count` lost jobs again, often none."""

    def notice(self, sentence: str) -> None:
        """Something happened that a user should read."""


NO_EVENTS: Final = Events()
"""Ignores every event."""
