"""What becomes of a mask: threshold, post-processing, matting, colour; one cut-out of it all."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from producer.contract.options import Options
from worker.errors import ImageTooLarge
from worker.imaging import compose, masks
from worker.imaging.decode import Picture
from worker.imaging.decontaminate import decontaminate
from worker.imaging.masks import Pixels
from worker.imaging.matting.alpha import MattingImpossible, closed_form_alpha
from worker.imaging.matting.foreground import foreground_colour
from worker.imaging.matting.trimap import trimap_from_mask
from worker.observability.stopwatch import Stopwatch
from worker.pipeline import memory_estimate
from worker.pipeline.memory_budget import Reservation
from worker.pipeline.presets import PRESETS, Preset


@dataclass(frozen=True, kw_only=True)
class Refined:
    """A finished cut-out, not yet cropped or encoded."""

    pixels: Pixels
    """(H, W, 4) straight RGBA, or (H, W, 3) before an opaque background. Made from the source's
    colours alone where no image is wanted."""
    mask: Pixels
    """(H, W)."""
    warnings: tuple[str, ...] = ()


def refine(
    picture: Picture,
    found: Pixels,
    options: Options,
    *,
    want_image: bool,
    share: Reservation | None = None,
    matting_seconds: float = math.inf,
    watch: Stopwatch | None = None,
) -> Refined:
    """Make a cut-out from a picture and the mask that a model found in it.

    In the order of the originals: threshold, post-processing, matting or plain cut-out, background.
    `share` comes to hold the memory that matting takes, as soon as the number of unknown pixels is
    known; after `matting_seconds` it ends with what it has. `watch` times it by itself.
    """
    watch = watch or Stopwatch()
    preset = PRESETS[options.preset]
    threshold = preset.threshold if options.threshold is None else options.threshold
    if threshold is not None:
        found = masks.binarise(found, threshold)
    if options.post_process_mask:
        found = masks.post_process(found)
    alpha: NDArray[np.float64] | None = None
    warnings: tuple[str, ...] = ()
    if options.alpha_matting and (want_image or preset.mattes_mask):
        try:
            with watch.stage("matting"):
                sure = _sure(found, options)
                if share is not None:
                    with watch.stage("wait"):
                        _reserve(
                            share, pixels=found.size, unknown=int(np.count_nonzero(sure == 128))
                        )
                alpha, remark = closed_form_alpha(
                    picture.rgb,
                    sure,
                    start=found,
                    seconds=matting_seconds,
                    exact=preset.as_rembg,
                )
        except MattingImpossible as error:
            remark = f"not done, {error}; the mask is used as it is"
        if remark is not None:
            warnings = (f"alpha_matting: {remark}",)
    pixels = picture.rgb
    if want_image:
        pixels = _before_background(_cut(picture, found, alpha, options, preset), options)
    if alpha is not None and preset.mattes_mask:
        found = masks.to_levels(alpha, found.dtype)
    if preset.keeps_transparency:
        found = masks.multiply_alpha(found, picture.alpha)
    return Refined(pixels=pixels, mask=found, warnings=warnings)


def _reserve(share: Reservation, *, pixels: int, unknown: int) -> None:
    """Have a share hold what matting takes; raises `ImageTooLarge` for more than there is."""
    needed, total = memory_estimate.matting(pixels, unknown), share.total
    if needed > total:
        raise ImageTooLarge(
            f"alpha_matting: expected at most {total:,} bytes of memory, seven eighths of "
            f"CUTWORK_IMAGE_MEMORY; found {unknown:,} unknown pixels of {pixels:,}, which take "
            f"{needed:,}; lower alpha_matting_erode_size"
        )
    if share.held < needed:
        # Only the picture itself is there while it waits.
        share.keep(memory_estimate.in_hand(pixels))
        share.grow(needed)


def passed_through(picture: Picture, options: Options) -> Pixels:
    """The pixels of a picture that is not cut out."""
    return _before_background(compose.uncut_rgba(picture.rgb, picture.alpha), options)


def _before_background(rgba: Pixels, options: Options) -> Pixels:
    if options.background is None:
        return rgba
    pixels = compose.composite_on_colour(rgba, compose.parse_colour(options.background))
    if options.has_opaque_background and not PRESETS[options.preset].as_rembg:
        return np.ascontiguousarray(pixels[:, :, :3])
    return pixels


def _sure(found: Pixels, options: Options) -> NDArray[np.uint8]:
    return trimap_from_mask(
        found,
        foreground_threshold=options.alpha_matting_foreground_threshold,
        background_threshold=options.alpha_matting_background_threshold,
        erode_size=options.alpha_matting_erode_size,
    )


def _cut(
    picture: Picture,
    found: Pixels,
    alpha: NDArray[np.float64] | None,
    options: Options,
    preset: Preset,
) -> Pixels:
    """RGBA before a background: plain, or with the subject's own colour at its soft edges."""
    clean = options.estimate_foreground
    if clean is None or alpha is not None:
        # rembg, too, estimates it for what it could not matte.
        clean = preset.estimates_foreground or options.alpha_matting
    if preset.as_rembg and not clean:
        return compose.composite_on_transparent(picture.rgb, found, picture.alpha)
    levels = found if alpha is None else masks.to_levels(alpha, found.dtype)
    rgb = picture.rgb
    if preset.as_rembg:
        share = found / np.float64(masks.max_level(found)) if alpha is None else alpha
        rgb = masks.to_levels(foreground_colour(rgb, share), found.dtype)
    rgba = np.empty((*levels.shape, 4), rgb.dtype)
    if clean and not preset.as_rembg:
        decontaminate(rgb, levels, result=rgba[:, :, :3])
    else:
        rgba[:, :, :3] = rgb
    rgba[:, :, 3] = masks.multiply_alpha(
        levels, picture.alpha if preset.keeps_transparency else None
    )
    return rgba
