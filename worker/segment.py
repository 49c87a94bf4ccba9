"""A picture and a model to the mask the model sees: load → prepare → model → mask."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from producer.options import Options
from producer.outcome import RunFacts
from worker import mask
from worker.errors import ModelInvalid
from worker.image import Picture
from worker.inference import Inference
from worker.mask import Pixels
from worker.models.cache import ModelCache
from worker.models.engine import Engine
from worker.models.load import check_device, choose_device, device_warnings
from worker.models.profile import adapt, input_size
from worker.models.store import ModelFile, ModelStore
from worker.presets import PRESETS
from worker.stopwatch import Stopwatch

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
    file, engine, profile = model.file, model.engine, model.file.profile
    with watch.stage("prepare"):
        seen = mask.eight_bits(picture.rgb)
        if preset.keeps_transparency and picture.alpha is not None:
            seen = mask.over_white(seen, mask.eight_bits(picture.alpha))
        batch = mask.to_input(
            seen,
            size=model.size,
            mean=profile.mean,
            std=profile.std,
            divisor=profile.divisor,
            resampling=profile.resampling,
            channels=profile.channels,
            squash=preset.squash,
        )
    turn = model.inference.run(engine, batch, name=file.name)
    watch.add("wait", turn.waited)
    watch.add("model", turn.ran)
    saliency = turn.result
    if not np.isfinite(saliency).all():
        raise ModelInvalid(f"{file.name}: expected a map of numbers, found NaN or infinity in it")
    warnings: tuple[str, ...] = ()
    with watch.stage("mask"):
        if profile.sigmoid:
            saliency = mask.sigmoid(saliency)
        low, high = float(saliency.min()), float(saliency.max())
        if not -_TOLERANCE <= low <= high <= 1 + _TOLERANCE:
            warnings = (
                f"{file.name}: expected a map of 0…1, found {low:.3g}…{high:.3g}; a model of "
                "logits needs `sigmoid` in its profile",
            )
        found = preset.read_map(
            saliency,
            picture.size,
            stretched=profile.stretch,
            depth=picture.rgb.dtype.type,
        )
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
    return found, run, warnings
