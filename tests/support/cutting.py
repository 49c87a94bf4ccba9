"""Cut out an image without a queue or an object store."""

import io
import math
from typing import Final

from producer.contract.options import Options
from worker.imaging.decode import Picture
from worker.imaging.masks import Pixels
from worker.models.files.store import ModelFile
from worker.observability.stopwatch import Stopwatch
from worker.pipeline.cutout import CutOut, cut_out
from worker.pipeline.limits import Limits
from worker.pipeline.memory_budget import MemoryBudget
from worker.pipeline.recipe import Recipe
from worker.pipeline.refine import Refined, refine
from worker.pipeline.segment import Models

MEMORY: Final = 16 * 2**30


def cut_alone(
    data: bytes,
    options: Options,
    *,
    file: ModelFile | None,
    models: Models,
    memory: int = MEMORY,
    want_image: bool = True,
) -> CutOut:
    limits = Limits.of(max_pixels=10**8, max_matted_pixels=10**7, matting_seconds=60, memory=memory)
    recipe = Recipe.resolve(options, file=file, want_image=want_image)
    with limits.image_memory.reserve() as reservation:
        return cut_out(
            io.BytesIO(data),
            recipe,
            length=len(data),
            models=models,
            limits=limits,
            reservation=reservation,
            watch=Stopwatch(),
        )


def refine_alone(picture: Picture, mask: Pixels, recipe: Recipe) -> Refined:
    with MemoryBudget(MEMORY).reserve() as reservation:
        return refine(
            picture,
            mask,
            recipe,
            reservation=reservation,
            matting_seconds=math.inf,
            watch=Stopwatch(),
        )
