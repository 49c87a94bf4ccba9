"""The limits of one process on images: pixels, bytes of memory, and seconds of matting."""

from dataclasses import dataclass
from typing import Final, Self

from worker.errors import ImageTooLarge, SourceTooLarge
from worker.imaging.readers.stored import Facts
from worker.pipeline.memory_budget import MemoryBudget, Reservation
from worker.pipeline.memory_estimate import idle_memory, matting_memory

_SOURCE_PART: Final = 8
"""An eighth of the memory is for encoded images, as they are smaller than decoded ones."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one process works on at most."""

    max_pixels: int
    """Pixels of one image."""
    max_matted_pixels: int
    """Pixels of one image whose matte is solved for."""
    matting_seconds: float
    """Seconds after which matting stops, with the matte it has."""
    source_memory: MemoryBudget
    """Bytes of all encoded images that have been read and are not decoded yet."""
    image_memory: MemoryBudget
    """Bytes of all decoded images and what is made of them, until they are stored.

    The two budgets are separate so that jobs cannot deadlock: a job waits for image memory while it
    holds source memory, never the other way round."""

    @classmethod
    def of(
        cls, *, max_pixels: int, max_matted_pixels: int, matting_seconds: float, memory: int
    ) -> Self:
        """Return the limits of a process with `memory` bytes for images in flight."""
        source_memory = memory // _SOURCE_PART
        return cls(
            max_pixels=max_pixels,
            max_matted_pixels=max_matted_pixels,
            matting_seconds=matting_seconds,
            source_memory=MemoryBudget(source_memory),
            image_memory=MemoryBudget(memory - source_memory),
        )

    def check_source(self, length: int) -> None:
        """Raise `SourceTooLarge` if an encoded image exceeds the whole budget for sources."""
        if length > self.source_memory.total:
            raise SourceTooLarge(
                f"expected an object of at most {self.source_memory.total:,} bytes, an eighth of "
                f"CUTWORK_IMAGE_MEMORY; found {length:,}"
            )

    def check_matted(self, size: tuple[int, int]) -> None:
        """Raise `ImageTooLarge` if matting an image of this size would take too long."""
        width, height = size
        if width * height > self.max_matted_pixels:
            raise ImageTooLarge(
                f"alpha_matting: expected at most {self.max_matted_pixels:,} pixels "
                f"(CUTWORK_MAX_MATTED_PIXELS), found {width}×{height} = {width * height:,}"
            )

    def check_image(self, header: Facts, needed: int) -> None:
        """Raise `ImageTooLarge` if an image needs more bytes than the whole budget for images."""
        width, height = header.size
        if needed > self.image_memory.total:
            raise ImageTooLarge(
                f"expected an image that takes at most {self.image_memory.total:,} bytes of "
                f"memory, seven eighths of CUTWORK_IMAGE_MEMORY; found a {header.format} of "
                f"{width}×{height} that with these options takes {needed:,}"
            )


def reserve_matting(reservation: Reservation, *, pixels: int, unknown: int) -> None:
    """Grow a reservation to what matting needs, now that the number of unknown pixels is known.

    Waits until other jobs have released that much; raises `ImageTooLarge` if it exceeds the whole
    budget.
    """
    needed, total = matting_memory(pixels, unknown), reservation.budget.total
    if needed > total:
        raise ImageTooLarge(
            f"alpha_matting: expected at most {total:,} bytes of memory, seven eighths of "
            f"CUTWORK_IMAGE_MEMORY; found {unknown:,} unknown pixels of {pixels:,}, which take "
            f"{needed:,}; lower alpha_matting_erode_size"
        )
    if reservation.size < needed:
        # While the job waits it only holds the picture and its mask.
        reservation.shrink_to(idle_memory(pixels))
        reservation.grow_to(needed)
