"""A picture and a model to the soft mask: load → prepare → model → mask."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from producer.contract.outcome import RunFacts
from worker.errors import ModelInvalid
from worker.imaging import masks
from worker.imaging.decode import Picture
from worker.imaging.masks import Depth, Pixels
from worker.models.engines.cache import ModelCache
from worker.models.engines.engine import Engine
from worker.models.engines.load import check_device, choose_device, device_warnings
from worker.models.engines.segmenter import Conversion, DeviceSegmenter
from worker.models.files.profile import input_size
from worker.models.files.store import ModelFile, ModelStore
from worker.models.inference import Inference
from worker.observability.stopwatch import Stopwatch
from worker.pipeline.map_range import range_warning
from worker.pipeline.presets import Preset, fits_device
from worker.pipeline.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Models:
    """The models of this process: their files, the loaded ones, and how they are run."""

    store: ModelStore
    cache: ModelCache
    inference: Inference

    def find(self, name: str, *, sha256: str | None = None) -> ModelFile:
        """Return the file of a model; a loaded model stays usable after its file was deleted.

        Raises the errors of `ModelStore.resolve`.
        """
        return self.store.resolve(name, sha256=sha256, is_loaded=self.cache.is_loaded)


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model that is loaded and fits its profile and the options."""

    file: ModelFile
    """With the profile of the recipe."""
    engine: Engine
    inference: Inference
    input_size: tuple[int, int]
    """Width and height of its input."""
    fallback: str | None
    """The error code of the reason why it runs on another device than asked for."""
    warnings: tuple[str, ...]


@contextmanager
def load_model(recipe: Recipe, *, models: Models, watch: Stopwatch) -> Iterator[LoadedModel]:
    """Yield the recipe's model, loaded until the end of the block.

    Raises `OptionConflict` if the model, its profile and the options contradict each other, and the
    errors of loading.
    """
    if recipe.file is None or recipe.profile is None:
        raise ValueError("expected a recipe with a model, found one without")
    with ExitStack() as stack:
        with watch.stage("load"):
            file = replace(recipe.file, profile=recipe.profile)
            choice = choose_device(file, recipe.options.device_mode)
            engine = stack.enter_context(models.cache.use(file, choice.device, keep=choice.keep))
            fallback = check_device(engine, choice)
            size = input_size(recipe.profile, fixed=engine.input_size, model=file.name)
        yield LoadedModel(
            file=file,
            engine=engine,
            inference=models.inference,
            input_size=size,
            fallback=fallback.code if fallback else None,
            warnings=device_warnings(engine, choice, fallback),
        )


def segment(
    picture: Picture, recipe: Recipe, *, model: LoadedModel, watch: Stopwatch
) -> tuple[Pixels, RunFacts, tuple[str, ...]]:
    """Return the soft mask (H, W) in the picture's dtype, where the model ran, and warnings.

    Raises `ModelInvalid` if the model's output has NaN or infinity, and the errors of inference.
    """
    preset = recipe.preset
    with watch.stage("prepare"):
        rgb = masks.to_uint8(picture.rgb)
        if preset.keeps_transparency and picture.alpha is not None:
            rgb = masks.composite_on_white(rgb, masks.to_uint8(picture.alpha))
    segmenter = model.engine.segmenter
    if segmenter is not None and fits_device(preset, model.file.profile, picture.rgb):
        mask, minimum, maximum = _segment_on_device(rgb, segmenter, model=model, watch=watch)
    else:
        depth = picture.rgb.dtype.type
        mask, minimum, maximum = _segment_on_host(
            rgb, preset, model=model, depth=depth, size=picture.size, watch=watch
        )
    facts = model.engine.facts
    warning = range_warning(
        minimum,
        maximum,
        profile=model.file.profile,
        channels=facts.channels,
        name=model.file.name,
    )
    run = RunFacts(
        model=model.file.name,
        sha256=model.file.sha256,
        engine=facts.engine,
        provider=facts.provider,
        device=facts.device,
        dtype=facts.dtype,
        fallback=model.fallback,
    )
    warnings = [] if warning is None else [warning]
    if facts.channels > 1 and recipe.file is not None and recipe.file.profile.channel is None:
        warnings.append(
            f"{model.file.name}: its output has {facts.channels} channels; the preset "
            f"{recipe.options.preset} takes channel {model.file.profile.channel}, unless `channel` "
            "in the model's profile names another"
        )
    return mask, run, tuple(warnings)


def _segment_on_device(
    rgb: NDArray[np.uint8], segmenter: DeviceSegmenter, *, model: LoadedModel, watch: Stopwatch
) -> tuple[Pixels, float, float]:
    """Upload the picture as it is; the device resizes it and makes the mask of its saliency map.

    Returns the mask, and the lowest and the highest value of the saliency map.
    """
    name, profile, engine = model.file.name, model.file.profile, model.engine
    with watch.stage("prepare"):
        uploaded = model.inference.upload(engine, segmenter, rgb, size=model.input_size, name=name)
    conversion = Conversion.of(profile, model.input_size)
    with watch.stage("model"):
        timed = model.inference.segment(engine, uploaded, conversion, name=name)
        watch.add("wait", timed.wait_seconds, ago=timed.run_seconds)
    with watch.stage("mask"):
        _check_finite(timed.result.is_finite, name)
        return timed.result.mask, timed.result.minimum, timed.result.maximum


def _segment_on_host(
    rgb: NDArray[np.uint8],
    preset: Preset,
    *,
    model: LoadedModel,
    depth: Depth,
    size: tuple[int, int],
    watch: Stopwatch,
) -> tuple[Pixels, float, float]:
    """Prepare the model's input and make the mask of its saliency map on the CPU.

    Returns the same as `_segment_on_device`.
    """
    name, profile = model.file.name, model.file.profile
    with watch.stage("prepare"):
        batch = masks.to_input(
            rgb,
            size=model.input_size,
            mean=profile.mean,
            std=profile.std,
            divisor=profile.divisor,
            resampling=profile.resampling,
            channels=profile.channels,
            resize=preset.resize,
        )
    with watch.stage("model"):
        timed = model.inference.infer(model.engine, batch, name=name)
        watch.add("wait", timed.wait_seconds, ago=timed.run_seconds)
    saliency = timed.result
    with watch.stage("mask"):
        _check_finite(bool(np.isfinite(saliency).all()), name)
        if profile.sigmoid:
            saliency = masks.sigmoid(saliency)
        saliency = masks.to_full_range(saliency, *profile.range)
        mask = preset.map_to_mask(saliency, size, stretched=profile.stretch, depth=depth)
        return mask, float(saliency.min()), float(saliency.max())


def _check_finite(finite: bool, name: str) -> None:
    if not finite:
        raise ModelInvalid(
            f"{name}: expected a saliency map of numbers, found NaN or infinity in it; check that "
            "`mean`, `std` and `divisor` of its profile are those of its training, or export it in "
            "full precision"
        )
