"""A model's mask to the cut-out: threshold, post-processing, matting, colours, background."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.imaging import compose, masks
from worker.imaging.colour.srgb import srgb_to_profile
from worker.imaging.decode import Picture
from worker.imaging.decontaminate import decontaminate
from worker.imaging.masks import Pixels
from worker.imaging.matting.alpha import MattingImpossible, closed_form_alpha
from worker.imaging.matting.foreground import foreground_and_background
from worker.imaging.matting.trimap import erosion_side, trimap_from_mask
from worker.models.watchdog import restart_clock
from worker.observability.stopwatch import Stopwatch
from worker.pipeline.limits import reserve_matting
from worker.pipeline.memory_budget import Reservation
from worker.pipeline.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Refined:
    """A finished cut-out, neither cropped nor encoded."""

    pixels: Pixels
    """(H, W, 4) straight RGBA, or (H, W, 3) on an opaque background. Where no image is wanted, the
    colours of the source."""
    mask: Pixels
    """(H, W)."""
    warnings: tuple[str, ...] = ()


def refine(
    picture: Picture,
    mask: Pixels,
    recipe: Recipe,
    *,
    reservation: Reservation,
    matting_seconds: float,
    watch: Stopwatch,
) -> Refined:
    """Return the cut-out of a picture and the soft mask (H, W) that a model made of it.

    The steps are in the order of the original systems: threshold, post-processing, matting or a
    plain cut-out, background. `reservation` grows to the memory that matting needs, once the number
    of unknown pixels is known. After `matting_seconds` matting stops with the matte it has. `watch`
    times matting as a stage.

    Raises `ImageTooLarge` if matting needs more memory than there is.
    """
    options, preset = recipe.options, recipe.preset
    if recipe.threshold is not None:
        mask = masks.binarise(mask, recipe.threshold)
    if options.post_process_mask:
        mask = masks.post_process(mask)
    alpha: NDArray[np.float64] | None = None
    warnings: list[str] = []
    if recipe.mattes:
        try:
            with watch.stage("matting"):
                trimap = trimap_from_mask(
                    mask,
                    foreground_threshold=options.alpha_matting_foreground_threshold,
                    background_threshold=options.alpha_matting_background_threshold,
                    erode_size=erosion_side(recipe.erode_size, picture.size),
                )
                unknown = int(np.count_nonzero(trimap == 128))
                with watch.stage("wait"):
                    reserve_matting(reservation, pixels=mask.size, unknown=unknown)
                restart_clock(extra=matting_seconds)
                alpha, warning = closed_form_alpha(
                    picture.rgb,
                    trimap,
                    start=mask,
                    seconds=matting_seconds,
                    exact=preset.matches_rembg,
                )
        except MattingImpossible as error:
            warning = f"not done, {error}; the mask is used as it is"
        if warning is not None:
            warnings.append(f"alpha_matting: {warning}")
    pixels = picture.rgb
    if recipe.want_image:
        rgba = _rgba(picture, mask, alpha, recipe)
        pixels = _on_background(rgba, picture.icc_profile, recipe, warnings)
    if alpha is not None and preset.mattes_mask:
        mask = masks.to_levels(alpha, mask.dtype)
    if preset.keeps_transparency:
        mask = masks.multiply_alpha(mask, picture.alpha)
    return Refined(pixels=pixels, mask=mask, warnings=tuple(warnings))


def pass_through(picture: Picture, mask: Pixels, recipe: Recipe) -> Refined:
    """Return a picture that is not cut out, on the background, with a mask (H, W)."""
    warnings: list[str] = []
    rgba = compose.uncut_rgba(picture.rgb, picture.alpha)
    pixels = _on_background(rgba, picture.icc_profile, recipe, warnings)
    return Refined(pixels=pixels, mask=mask, warnings=tuple(warnings))


def _on_background(
    rgba: Pixels, icc_profile: bytes | None, recipe: Recipe, warnings: list[str]
) -> Pixels:
    if recipe.options.background is None:
        return rgba
    colour, alpha = compose.parse_colour(recipe.options.background)
    levels = srgb_to_profile(colour, icc_profile, warnings)
    pixels = compose.composite_on_colour(rgba, (*levels, alpha))
    if recipe.options.has_opaque_background and not recipe.preset.matches_rembg:
        return np.ascontiguousarray(pixels[:, :, :3])
    return pixels


def _rgba(
    picture: Picture, mask: Pixels, alpha: NDArray[np.float64] | None, recipe: Recipe
) -> Pixels:
    """Return the RGBA cut-out: with the source's colours, or the subject's own at soft edges."""
    preset = recipe.preset
    estimate_colours = recipe.estimates_foreground(matted=alpha is not None)
    if preset.matches_rembg and not estimate_colours:
        return compose.composite_on_transparent(picture.rgb, mask, picture.alpha)
    levels = mask if alpha is None else masks.to_levels(alpha, mask.dtype)
    rgb = picture.rgb
    if preset.matches_rembg:
        opacity = mask / np.float64(masks.max_level(mask)) if alpha is None else alpha
        rgb = masks.to_levels(foreground_and_background(rgb, opacity)[0], mask.dtype)
    rgba = np.empty((*levels.shape, 4), rgb.dtype)
    if estimate_colours and not preset.matches_rembg:
        decontaminate(rgb, levels, result=rgba[:, :, :3])
    else:
        rgba[:, :, :3] = rgb
    rgba[:, :, 3] = masks.multiply_alpha(
        levels, picture.alpha if preset.keeps_transparency else None
    )
    return rgba
