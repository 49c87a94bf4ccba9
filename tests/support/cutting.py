"""Cut out an image without a queue or an object store."""

import io
import math
from typing import Final

import numpy as np

from producer.contract.options import Options
from worker.imaging.decode import Picture, open_image
from worker.imaging.encode import EncodeSettings, encode
from worker.imaging.masks import Pixels
from worker.models.files.store import ModelFile
from worker.observability.stopwatch import Stopwatch
from worker.pipeline.cutout import CutOut, cut_out
from worker.pipeline.limits import Limits
from worker.pipeline.memory_budget import MemoryBudget
from worker.pipeline.recipe import Recipe
from worker.pipeline.refine import Refined, pass_through, refine
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


def pass_alone(data: bytes, options: Options) -> tuple[bytes, tuple[str, ...]]:
    """Return the encoded cut-out of a job with `enabled=False`, and its warnings."""
    recipe = Recipe.resolve(options.model_copy(update={"enabled": False}), file=None)
    picture = open_image(data, max_pixels=10**8).decode(depth=recipe.depth)
    passed = pass_through(picture, np.zeros(picture.size[::-1], recipe.depth), recipe)
    settings = EncodeSettings(icc_profile=picture.icc_profile, dpi=picture.dpi)
    image = encode(passed.pixels, image_format=options.image_format, settings=settings)
    return image, picture.warnings + passed.warnings


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
