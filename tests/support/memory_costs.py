"""The memory estimate of a JPEG of 20 megapixels, or of another header."""

from typing import Any

from producer import Options
from worker.imaging.readers.stored import Facts
from worker.pipeline.memory_estimate import estimate_memory
from worker.pipeline.recipe import Recipe


def header(**facts: Any) -> Facts:
    known: dict[str, Any] = {"format": "JPEG", "mode": "RGB", "size": (5000, 4000)}
    return Facts(**{"has_transparency": False} | known | facts)


def cost(options: Options, **facts: Any) -> int:
    return estimate_memory(
        header(**facts),
        Recipe.resolve(options, file=None),
        input_size=(1024, 1024) if options.enabled else None,
        usual_input_size=(1024, 1024),
    ).peak
