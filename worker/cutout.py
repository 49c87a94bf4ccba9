"""An image's bytes to those of its cut-out and mask: decode → segment → refine → encode."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np

from producer.options import Options
from producer.outcome import RunFacts
from worker import compose, image
from worker.allowance import Allowance
from worker.encoder import FORMATS, Look, check_encodable, encode
from worker.errors import ImageTooLarge
from worker.image import Picture
from worker.mask import Box, Pixels
from worker.models.store import ModelFile
from worker.presets import PRESETS
from worker.refine import passed_through, refine
from worker.segment import Models, loaded, segment
from worker.stopwatch import Stopwatch


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much may be worked on, in pixels."""

    decoded: int
    """Of one image."""
    matted: Allowance
    """Of all images being matted at once: that takes 0.7 GB of memory a megapixel."""

    def check_matted(self, size: tuple[int, int]) -> None:
        """Raise `ImageTooLarge` where matting would take more memory than allowed."""
        width, height = size
        if width * height > self.matted.total:
            raise ImageTooLarge(
                f"alpha_matting: expected at most {self.matted.total:,} pixels "
                f"(CUTWORK_MAX_MATTED_PIXELS), found {width}×{height} = {width * height:,}"
            )


@dataclass(frozen=True, kw_only=True)
class CutOut:
    """What one image became."""

    picture: Picture
    mask: Pixels
    """(H, W), upright and of the whole picture, also where the results are cropped."""
    crop: Box | None
    """Left, upper, right, lower of the results within the picture; None: all of it."""
    run: RunFacts | None
    """None when the model was not asked."""
    warnings: tuple[str, ...]
    image_bytes: bytes | None = None
    mask_bytes: bytes | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the results, in pixels."""
        if self.crop is None:
            return self.picture.size
        left, upper, right, lower = self.crop
        return right - left, lower - upper


def cut_out(
    read: Callable[[], bytes],
    options: Options,
    *,
    file: ModelFile | None,
    models: Models,
    limits: Limits,
    watch: Stopwatch,
    want_image: bool = True,
    want_mask: bool = True,
) -> CutOut:
    """Cut the foreground out of an encoded image; raises what the stages raise.

    `read` gives the image's bytes, and is called once the model is ready. Only what is wanted is
    made: for large images colours and encoding are most of the time outside the model. `file` is
    the model's, None when `options.enabled` is off: then the picture passes through unchanged and
    the mask is all zero.
    """
    depth = np.uint16 if options.bit_depth == 16 else np.uint8
    with ExitStack() as held:
        # Before the image: a model that cannot be used is refused first.
        model = None
        if file is not None:
            model = held.enter_context(loaded(file, options, models=models, watch=watch))
        data = read()
        with watch.stage("decode"):
            picture = image.decode(data, max_pixels=limits.decoded, depth=depth)
            del data
        if not options.crop:
            _check_encodable(picture.size, options, image=want_image, mask=want_mask)
        if model is not None and options.alpha_matting:
            limits.check_matted(picture.size)
        found, run = np.zeros(picture.rgb.shape[:2], depth), None
        told: tuple[str, ...] = ()
        if model is not None:
            found, run, told = segment(picture, options, model=model, watch=watch)
    crop = None
    warnings = (*picture.warnings, *told, *_unused(options, image=want_image, mask=want_mask))
    if model is None:
        pixels = passed_through(picture, options)
    else:
        with watch.stage("edges"), ExitStack() as held:
            if options.alpha_matting:
                held.enter_context(limits.matted.take(found.size))
            refined = refine(picture, found, options, want_image=want_image)
        pixels, found = refined.pixels, refined.mask
        crop = compose.crop_box(found, options.margin) if options.crop else None
        warnings += model.warnings + refined.warnings
    result = CutOut(picture=picture, mask=found, crop=crop, run=run, warnings=warnings)
    look = Look(icc_profile=picture.icc_profile, dpi=picture.dpi, quality=options.quality)
    _check_encodable(result.size, options, image=want_image, mask=want_mask)
    with watch.stage("encode"):
        image_bytes = mask_bytes = None
        if want_image:
            part = compose.cropped(pixels, crop)
            image_bytes = encode(part, image_format=options.image_format, look=look)
        if want_mask:
            part = compose.cropped(found, crop)
            plain = replace(look, icc_profile=None)
            mask_bytes = encode(part, image_format=options.mask_format, look=plain)
    return replace(result, image_bytes=image_bytes, mask_bytes=mask_bytes)


def _check_encodable(size: tuple[int, int], options: Options, *, image: bool, mask: bool) -> None:
    if image:
        check_encodable(size, image_format=options.image_format)
    if mask:
        check_encodable(size, image_format=options.mask_format)


def _unused(options: Options, *, image: bool, mask: bool) -> Iterator[str]:
    """What was asked for and has no effect, each as a warning."""
    formats = [options.image_format] * image + [options.mask_format] * mask
    if options.quality is not None and not any(FORMATS[name].has_quality for name in formats):
        yield f"quality: {' and '.join(dict.fromkeys(formats))} has none"
    if options.margin != "0" and not options.crop:
        yield "margin: has no effect without crop"
    if options.background is not None and not image:
        yield "background: has no effect on a mask alone"
    if not options.enabled:
        for name in ("alpha_matting", "post_process_mask", "crop"):
            if getattr(options, name):
                yield f"{name}: has no effect with enabled=false"
    elif options.alpha_matting and not (image or PRESETS[options.preset].mattes_mask):
        yield f"alpha_matting: has no effect on a mask alone in the preset {options.preset}"
