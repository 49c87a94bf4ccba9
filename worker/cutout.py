"""An image's bytes to those of its cut-out and mask: decode → model → mask → edges → encode."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from producer.options import Options
from producer.outcome import RunFacts
from worker import compose, image, mask
from worker.encoder import Look, check_encodable, encode
from worker.errors import ModelInvalid
from worker.image import Picture
from worker.mask import Box, Pixels
from worker.models.cache import ModelCache
from worker.models.load import check_device, choose_device
from worker.models.profile import adapt, input_size
from worker.models.store import ModelFile, ModelStore
from worker.presets import PRESETS
from worker.refine import refine


class Stopwatch:
    """Wall seconds by stage."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent inside to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self._seconds[name] = self._seconds.get(name, 0.0) + spent

    def seconds(self) -> dict[str, float]:
        """Seconds by stage, and in total, to the tenth of a millisecond."""
        total = time.perf_counter() - self._start
        return {name: round(value, 4) for name, value in (self._seconds | {"total": total}).items()}


@dataclass(frozen=True, kw_only=True)
class Models:
    """The models of this process: their files, and those that are loaded."""

    store: ModelStore
    cache: ModelCache


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
    image_bytes: bytes | None
    mask_bytes: bytes | None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the results, in pixels."""
        if self.crop is None:
            return self.picture.size
        left, upper, right, lower = self.crop
        return right - left, lower - upper


def cut_out(
    data: bytes,
    options: Options,
    *,
    file: ModelFile | None,
    models: Models,
    max_pixels: int,
    watch: Stopwatch,
    want_image: bool = True,
    want_mask: bool = True,
) -> CutOut:
    """Cut the foreground out of an encoded image; raises what the stages raise.

    Only what is wanted is made: for large images colours and encoding are most of the time outside
    the model. `file` is the model's, None when `options.enabled` is off: then the picture passes
    through unchanged and the mask is all zero.
    """
    with watch.stage("decode"):
        depth = np.uint16 if options.bit_depth == 16 else np.uint8
        picture = image.decode(data, max_pixels=max_pixels, depth=depth)
    warnings = picture.warnings
    if file is None:
        found = np.zeros(picture.rgb.shape[:2], depth)
        pixels, run, crop = compose.unchanged(picture.rgb, picture.alpha), None, None
    else:
        found, run, told = segment(picture, options, file=file, models=models, watch=watch)
        with watch.stage("edges"):
            refined = refine(picture, found, options, want_image=want_image)
            pixels, found = refined.pixels, refined.mask
        warnings += told + refined.warnings
        crop = compose.crop_box(found, options.margin) if options.crop else None
    result = CutOut(
        picture=picture,
        mask=found,
        crop=crop,
        run=run,
        warnings=warnings,
        image_bytes=None,
        mask_bytes=None,
    )
    wanted = ((want_image, options.image_format), (want_mask, options.mask_format))
    for _, image_format in (item for item in wanted if item[0]):
        check_encodable(result.size, image_format=image_format)
    with watch.stage("encode"):
        look = Look(icc_profile=picture.icc_profile, dpi=picture.dpi, quality=options.quality)
        return replace(
            result,
            image_bytes=encode(
                compose.cropped(pixels, crop), image_format=options.image_format, look=look
            )
            if want_image
            else None,
            mask_bytes=encode(
                compose.cropped(found, crop),
                image_format=options.mask_format,
                look=replace(look, icc_profile=None),
            )
            if want_mask
            else None,
        )


def segment(
    picture: Picture, options: Options, *, file: ModelFile, models: Models, watch: Stopwatch
) -> tuple[Pixels, RunFacts, tuple[str, ...]]:
    """The mask the model sees in a picture, where the model ran, and warnings."""
    preset = PRESETS[options.preset]
    with watch.stage("load"):
        wanted = choose_device(file, options.device_mode)
        profile = adapt(preset.feed(file.profile), options)
        engine = models.cache.get(file, wanted)
        warnings = check_device(engine, wanted=wanted, device_mode=options.device_mode)
        size = input_size(profile, fixed_size=engine.input_size, model=file.name)
    with watch.stage("model"):
        seen = mask.eight_bits(picture.rgb)
        if preset.keeps_transparency and picture.alpha is not None:
            seen = mask.over_white(seen, mask.eight_bits(picture.alpha))
        batch = mask.to_input(
            seen,
            size=size,
            mean=profile.mean,
            std=profile.std,
            divisor=profile.divisor,
            resampling=profile.resampling,
            channels=profile.channels,
            layout=profile.layout,
        )
    with watch.stage("wait"):
        engine.turn.acquire()
    try:
        with watch.stage("model"):
            saliency = engine.infer(batch)[0]
    finally:
        engine.turn.release()
    if not np.isfinite(saliency).all():
        raise ModelInvalid(f"{file.name}: expected a map of numbers, found NaN or infinity in it")
    with watch.stage("mask"):
        depth = np.uint16 if options.bit_depth == 16 else np.uint8
        found = preset.read_map(
            mask.sigmoid(saliency) if profile.sigmoid else saliency,
            picture.size,
            stretched=profile.stretch,
            depth=depth,
        )
    facts = engine.facts
    run = RunFacts(
        model=file.name,
        sha256=file.sha256,
        engine=facts.engine,
        provider=facts.provider,
        device=facts.device,
        dtype=facts.dtype,
    )
    return found, run, warnings
