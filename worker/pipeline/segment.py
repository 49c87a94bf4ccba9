"""A picture and a model to the mask the model sees: load → prepare → model → mask."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from producer.contract.options import Options
from producer.contract.outcome import RunFacts
from worker.errors import ModelInvalid
from worker.imaging import masks
from worker.imaging.decode import Picture
from worker.imaging.masks import Depth, Pixels
from worker.models.engines.cache import ModelCache
from worker.models.engines.engine import Engine
from worker.models.engines.load import check_device, choose_device, device_warnings
from worker.models.engines.on_device import Pictures, Reading
from worker.models.files.profile import adapt, input_size
from worker.models.files.store import ModelFile, ModelStore
from worker.models.inference import Inference
from worker.observability.stopwatch import Stopwatch
from worker.pipeline.presets import PRESETS, Preset, fits_device

_TOLERANCE: Final = 0.05
"""How far a map may lie outside 0…1 and be taken for one: half precision and resizing overshoot."""


@dataclass(frozen=True, kw_only=True)
class Models:
    """The models of this process: their files, those that are loaded, and how they are run."""

    store: ModelStore
    cache: ModelCache
    inference: Inference

    def find(self, name: str, *, sha256: str | None = None) -> ModelFile:
        """The file of a model; what is loaded is used on when its file is gone from the disk.

        Raises what `ModelStore.find` raises.
        """
        return self.store.find(name, sha256=sha256, loaded=self.cache.holds)


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model that is loaded and fits its profile and the options."""

    file: ModelFile
    """With the preset and the options in its profile."""
    engine: Engine
    inference: Inference
    size: tuple[int, int]
    """Width and height of its input."""
    fallback: str | None
    warnings: tuple[str, ...]


@contextmanager
def loaded(
    file: ModelFile, options: Options, *, models: Models, watch: Stopwatch
) -> Iterator[LoadedModel]:
    """The model as the job wants it fed, loaded until the end of the block.

    What model, profile and options contradict each other in is refused here, before any image is
    touched.
    """
    with ExitStack() as held:
        with watch.stage("load"):
            profile = adapt(PRESETS[options.preset].feed(file.profile), options)
            file = replace(file, profile=profile)
            place = choose_device(file, options.device_mode)
            engine = held.enter_context(models.cache.use(file, place.device, keep=place.keep))
            reason = check_device(engine, place)
            size = input_size(profile, fixed=engine.input_size, model=file.name)
        yield LoadedModel(
            file=file,
            engine=engine,
            inference=models.inference,
            size=size,
            fallback=reason.code if reason else None,
            warnings=device_warnings(engine, place, reason),
        )


def segment(
    picture: Picture, options: Options, *, model: LoadedModel, watch: Stopwatch
) -> tuple[Pixels, RunFacts, tuple[str, ...]]:
    """The soft mask (H, W) a model finds in a picture, at its depth; where it ran; warnings."""
    preset = PRESETS[options.preset]
    with watch.stage("prepare"):
        seen = masks.to_uint8(picture.rgb)
        if preset.keeps_transparency and picture.alpha is not None:
            seen = masks.composite_on_white(seen, masks.to_uint8(picture.alpha))
    pictures = model.engine.pictures
    if pictures is not None and fits_device(preset, model.file.profile, picture.rgb):
        found = _on_device(seen, pictures, model=model, watch=watch)
    else:
        depth = picture.rgb.dtype.type
        found = _here(seen, preset, model=model, depth=depth, size=picture.size, watch=watch)
    warnings: tuple[str, ...] = ()
    if not -_TOLERANCE <= found.low <= found.high <= 1 + _TOLERANCE:
        warnings = (
            f"{model.file.name}: expected a map of 0…1, found {found.low:.3g}…{found.high:.3g}; a "
            "model of logits needs `sigmoid` in its profile",
        )
    facts = model.engine.facts
    run = RunFacts(
        model=model.file.name,
        sha256=model.file.sha256,
        engine=facts.engine,
        provider=facts.provider,
        device=facts.device,
        dtype=facts.dtype,
        fallback=model.fallback,
    )
    return found.mask, run, warnings


class _Found(NamedTuple):
    mask: Pixels
    low: float
    """The least value of the map."""
    high: float


def _on_device(
    rgb: NDArray[np.uint8], pictures: Pictures, *, model: LoadedModel, watch: Stopwatch
) -> _Found:
    """The mask of a picture that goes to the device as it is, and whose map stays there."""
    name, profile, engine = model.file.name, model.file.profile, model.engine
    with watch.stage("prepare"):
        uploaded = model.inference.upload(engine, pictures, rgb, size=model.size, name=name)
    reading = Reading.of(profile, model.size)
    turn = model.inference.see(engine, uploaded, reading, name=name)
    watch.add("wait", turn.waited, ago=turn.ran)
    watch.add("model", turn.ran)
    with watch.stage("mask"):
        _check(turn.result.finite, name)
        return _Found(turn.result.mask, turn.result.low, turn.result.high)


def _here(
    rgb: NDArray[np.uint8],
    preset: Preset,
    *,
    model: LoadedModel,
    depth: Depth,
    size: tuple[int, int],
    watch: Stopwatch,
) -> _Found:
    """The mask of a picture that is prepared here, and whose map comes back."""
    name, profile = model.file.name, model.file.profile
    with watch.stage("prepare"):
        batch = masks.to_input(
            rgb,
            size=model.size,
            mean=profile.mean,
            std=profile.std,
            divisor=profile.divisor,
            resampling=profile.resampling,
            channels=profile.channels,
            resize=preset.squash,
        )
    turn = model.inference.run(model.engine, batch, name=name)
    watch.add("wait", turn.waited, ago=turn.ran)
    watch.add("model", turn.ran)
    saliency = turn.result
    with watch.stage("mask"):
        _check(bool(np.isfinite(saliency).all()), name)
        if profile.sigmoid:
            saliency = masks.sigmoid(saliency)
        found = preset.read_map(saliency, size, stretched=profile.stretch, depth=depth)
        return _Found(found, float(saliency.min()), float(saliency.max()))


def _check(finite: bool, name: str) -> None:
    if not finite:
        raise ModelInvalid(f"{name}: expected a map of numbers, found NaN or infinity in it")
