"""Warm-up: run a network once for every batch size at load, so that no job waits for it."""

import logging

import numpy as np

from worker.errors import DeviceOutOfMemory, ModelInvalid, OptionConflict
from worker.models.engines.batch_sizes import batch_sizes
from worker.models.engines.engine import Engine
from worker.models.engines.segmenter import Conversion
from worker.models.files.profile import Profile, input_size

log = logging.getLogger(__name__)


def warm_up(engine: Engine, *, profile: Profile, name: str) -> None:
    """Run a batch of zeros of every batch size, and segment a black image where that is supported.

    cuDNN searches for the fastest algorithms at the first batch of each shape, which takes seconds.
    When a batch does not fit into the device's memory, the engine's `max_batch` is lowered to the
    last one that did. Raises `DeviceOutOfMemory` when not even one image fits, and `DeviceLost`.
    A model that refuses its input is only logged: the job that uses it gets the error.
    """
    try:
        width, height = input_size(profile, fixed=engine.input_size, model=name)
        fits = 1
        for images in batch_sizes(engine.max_batch):
            try:
                engine.infer(np.zeros((images, 3, height, width), np.float32))
            except DeviceOutOfMemory:
                if images == 1:
                    raise
                log.warning(
                    "%s: a batch of %d does not fit into the memory; batches have at most %d",
                    *(name, images, fits),
                )
                engine.max_batch = fits
                break
            fits = images
        if engine.segmenter is not None:
            black = np.zeros((height, width, 3), np.uint8)
            image = engine.segmenter.upload(black, (width, height))
            engine.segmenter.masks([image], Conversion.of(profile, (width, height)))
    except (ModelInvalid, OptionConflict) as error:
        log.warning("%s could not be tried out: %s", name, error)
