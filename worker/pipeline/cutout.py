"""An encoded image to its cut-out and mask: decode → segment → refine → encode."""

import math
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import numpy as np

from producer.contract.outcome import RunFacts
from worker.imaging import compose, masks
from worker.imaging.decode import Picture, open_image
from worker.imaging.encode import EncodeSettings, check_encodable, encode
from worker.imaging.masks import Box, Pixels
from worker.models.files.profile import DEFAULT_SIDE
from worker.observability.stopwatch import Stopwatch
from worker.pipeline.limits import Limits
from worker.pipeline.memory_budget import Reservation
from worker.pipeline.memory_estimate import MemoryEstimate, estimate_memory
from worker.pipeline.recipe import Recipe
from worker.pipeline.refine import pass_through, refine
from worker.pipeline.segment import LoadedModel, Models, load_model, segment

_SHRINK_MARGIN: Final = 1.5
"""A picture for the model alone is decoded at least this many times larger than its input."""


class Readable(Protocol):
    """An encoded image to read: an open file, or an object of the object store."""

    def read(self) -> bytes:
        """Return all of its bytes."""


@dataclass(frozen=True, kw_only=True)
class CutOut:
    """The outputs of one image, encoded, and the facts about them."""

    format: str
    mode: str
    """Pillow's name of the source's pixel format as stored."""
    picture_size: tuple[int, int]
    """Width and height of the whole picture, upright, in pixels."""
    mask: Pixels
    """(H, W), upright and of the whole picture, also if the outputs are cropped."""
    crop: Box | None
    """Left, upper, right, lower of the outputs within the picture; None without a crop."""
    run: RunFacts | None
    """None if no model ran."""
    warnings: tuple[str, ...]
    image_bytes: bytes | None = None
    mask_bytes: bytes | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the outputs, in pixels."""
        if self.crop is None:
            return self.picture_size
        left, upper, right, lower = self.crop
        return right - left, lower - upper

    def source_facts(self) -> dict[str, Any]:
        """Return what an outcome says about the source, as JSON values."""
        return {"format": self.format, "mode": self.mode, "size": self.picture_size}

    def facts(self) -> dict[str, Any]:
        """Return what an outcome says about the outputs together, as JSON values."""
        box = masks.bounding_box(self.mask)
        share = float(self.mask.mean()) / masks.max_level(self.mask)
        return {
            "run": self.run.model_dump() if self.run else None,
            "foreground_share": round(share, 6),
            "bounding_box": box,
            "crop": self.crop,
            "no_foreground": box is None if self.run else None,
            "warnings": self.warnings,
        }


def cut_out(
    source: Readable,
    recipe: Recipe,
    *,
    length: int,
    models: Models,
    limits: Limits,
    reservation: Reservation,
    watch: Stopwatch,
) -> CutOut:
    """Cut the foreground out of an encoded image of `length` bytes.

    Without a model the picture passes through unchanged and the mask is all zero. Only the wanted
    outputs are made, because for large images colours and encoding take most of the time outside
    the model.

    The source is read once the model is loaded, so that an unusable model is refused first. The
    empty `reservation`, of `limits.image_memory`, is filled with the memory estimate before a pixel
    is decoded, which may wait for other jobs; in the end it covers the outputs.

    Raises the errors of all stages.
    """
    limits.check_source(length)
    with ExitStack() as stack:
        model = None
        if recipe.file is not None:
            model = stack.enter_context(load_model(recipe, models=models, watch=watch))
        picture, estimate = _decode(
            source,
            recipe,
            length=length,
            model=model,
            limits=limits,
            reservation=reservation,
            watch=watch,
        )
        reservation.shrink_to(max(estimate.model, estimate.edges, estimate.encode))
        mask, run = np.zeros(picture.size[::-1], recipe.depth), None
        model_warnings: tuple[str, ...] = ()
        if model is not None:
            mask, run, model_warnings = segment(picture, recipe, model=model, watch=watch)
    reservation.shrink_to(max(estimate.edges, estimate.encode))
    crop = None
    warnings = (*picture.warnings, *model_warnings, *recipe.warnings())
    if model is None:
        refined = pass_through(picture, mask, recipe)
    else:
        with watch.stage("edges"):
            refined = refine(
                picture,
                mask,
                recipe,
                reservation=reservation,
                matting_seconds=limits.matting_seconds,
                watch=watch,
            )
        warnings += model.warnings
    pixels, mask = refined.pixels, refined.mask
    warnings += refined.warnings
    del refined
    if model is not None and recipe.options.crop:
        crop = compose.crop_box(mask, str(recipe.options.margin))
    reservation.shrink_to(estimate.encode)
    cutout = CutOut(
        format=picture.format,
        mode=picture.mode,
        picture_size=picture.size,
        mask=mask,
        crop=crop,
        run=run,
        warnings=warnings,
    )
    settings = EncodeSettings(
        icc_profile=picture.icc_profile, dpi=picture.dpi, quality=recipe.options.quality
    )
    # Encoding needs this memory.
    del picture
    _check_encodable(cutout.size, recipe)
    with watch.stage("encode"):
        image_bytes = mask_bytes = None
        if recipe.want_image:
            pixels = compose.crop(pixels, crop)
            image_format = recipe.options.image_format
            image_bytes = encode(pixels, image_format=image_format, settings=settings)
        del pixels
        if recipe.want_mask:
            mask_bytes = encode(
                compose.crop(mask, crop),
                image_format=recipe.options.mask_format,
                settings=replace(settings, icc_profile=None),
            )
    reservation.shrink_to(mask.nbytes + len(image_bytes or b"") + len(mask_bytes or b""))
    return replace(cutout, image_bytes=image_bytes, mask_bytes=mask_bytes)


def _decode(
    source: Readable,
    recipe: Recipe,
    *,
    length: int,
    model: LoadedModel | None,
    limits: Limits,
    reservation: Reservation,
    watch: Stopwatch,
) -> tuple[Picture, MemoryEstimate]:
    """Read and decode an image, each as soon as there is memory for it.

    The encoded bytes are released with the return of this function.
    """
    with limits.source_memory.reserve() as source_reservation:
        with watch.stage("wait"):
            source_reservation.acquire(length)
        with watch.stage("fetch"):
            data = source.read()
        with watch.stage("decode"):
            image = open_image(data, max_pixels=limits.max_pixels)
            if not recipe.options.crop:
                _check_encodable(image.header.size, recipe)
            if model is not None and recipe.options.alpha_matting:
                limits.check_matted(image.header.size)
            estimate = estimate_memory(
                image.header,
                recipe,
                input_size=None if model is None else model.input_size,
                usual_input_size=_usual_input_size(recipe, model),
            )
            limits.check_image(image.header, estimate.peak)
            with watch.stage("wait"):
                reservation.acquire(estimate.peak)
            picture = image.decode(depth=recipe.depth, min_size=_min_size(recipe, model))
    return picture, estimate


def _min_size(recipe: Recipe, model: LoadedModel | None) -> tuple[int, int] | None:
    """Return the width and height that suffice for the outputs; None for the whole size."""
    if model is None or not recipe.can_shrink:
        return None
    width, height = model.input_size
    return math.ceil(_SHRINK_MARGIN * width), math.ceil(_SHRINK_MARGIN * height)


def _usual_input_size(recipe: Recipe, model: LoadedModel | None) -> tuple[int, int]:
    """Return the input size up to which the network's layers belong to the model's memory."""
    if model is not None and model.engine.facts.device != "cpu":
        return model.input_size
    return (recipe.file and recipe.file.profile.sides) or (DEFAULT_SIDE, DEFAULT_SIDE)


def _check_encodable(size: tuple[int, int], recipe: Recipe) -> None:
    for image_format in recipe.formats:
        check_encodable(size, image_format=image_format)
