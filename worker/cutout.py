"""An image's bytes to those of its cut-out and mask: decode → model → mask → encode."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from producer.options import Options
from producer.outcome import RunFacts
from worker import image, mask
from worker.errors import ModelInvalid
from worker.image import Picture
from worker.models.cache import ModelCache
from worker.models.engine import Engine
from worker.models.load import check_device, choose_device, device_warnings
from worker.models.profile import adapt, input_size
from worker.models.store import ModelFile, ModelStore


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
    mask: NDArray[np.uint8]
    """(H, W), upright like the picture."""
    run: RunFacts | None
    """None when the model was not asked."""
    warnings: tuple[str, ...]
    image_bytes: bytes | None
    mask_bytes: bytes | None


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

    Only what is wanted is encoded: for large images that is most of the time outside the model.
    `file` is the model's, None when `options.enabled` is off: then the picture passes through
    unchanged and the mask is all zero.
    """
    with ExitStack() as held:
        # Before the image: what model, profile and options contradict in is refused first.
        model = held.enter_context(_loaded(file, options, models, watch)) if file else None
        with watch.stage("decode"):
            picture = image.decode(data, max_pixels=max_pixels)
        if want_image:
            image.check_encodable(picture.size, image_format=options.image_format)
        if want_mask:
            image.check_encodable(picture.size, image_format=options.mask_format)
        if model is None:
            found = np.zeros(picture.rgb.shape[:2], np.uint8)
            alpha = np.full_like(found, 255) if picture.alpha is None else picture.alpha
            run, warnings = None, picture.warnings
        else:
            found, run = _segment(picture, options, model=model, watch=watch)
            alpha, warnings = found, picture.warnings + model.warnings
    with watch.stage("encode"):
        image_bytes = mask_bytes = None
        if want_image:
            image_bytes = image.encode(
                mask.cut_out(picture.rgb, alpha),
                image_format=options.image_format,
                icc_profile=picture.icc_profile,
                dpi=picture.dpi,
            )
        if want_mask:
            mask_bytes = image.encode(found, image_format=options.mask_format, dpi=picture.dpi)
    return CutOut(
        picture=picture,
        mask=found,
        run=run,
        warnings=warnings,
        image_bytes=image_bytes,
        mask_bytes=mask_bytes,
    )


@dataclass(frozen=True, kw_only=True)
class _Model:
    """A model that is loaded and fits its profile and the options."""

    file: ModelFile
    engine: Engine
    size: tuple[int, int]
    """Width and height of its input."""
    fallback: str | None
    warnings: tuple[str, ...]


@contextmanager
def _loaded(
    file: ModelFile, options: Options, models: Models, watch: Stopwatch
) -> Iterator[_Model]:
    """The model with the options in its profile, loaded until the end of the block."""
    with ExitStack() as held:
        with watch.stage("load"):
            file = replace(file, profile=adapt(file.profile, options))
            place = choose_device(file, options.device_mode)
            engine = held.enter_context(models.cache.use(file, place.device, keep=place.keep))
            reason = check_device(engine, place)
            size = input_size(file.profile, fixed_size=engine.input_size, model=file.name)
        yield _Model(
            file=file,
            engine=engine,
            size=size,
            fallback=reason.code if reason else None,
            warnings=device_warnings(engine, place, reason),
        )


def _segment(
    picture: Picture, options: Options, *, model: _Model, watch: Stopwatch
) -> tuple[NDArray[np.uint8], RunFacts]:
    """The mask of a picture, and where the model ran."""
    file, engine, profile = model.file, model.engine, model.file.profile
    with watch.stage("model"):
        seen = picture.rgb if picture.alpha is None else mask.over_white(picture.rgb, picture.alpha)
        batch = mask.to_input(seen, size=model.size, mean=profile.mean, std=profile.std)
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
        whole = mask.to_size(mask.stretch(saliency), picture.size)
        found = mask.combine(mask.to_mask(whole, threshold=options.threshold), picture.alpha)
    facts = engine.facts
    run = RunFacts(
        model=file.name,
        sha256=file.sha256,
        engine=facts.engine,
        provider=facts.provider,
        device=facts.device,
        dtype=facts.dtype,
        fallback=model.fallback,
    )
    return found, run
