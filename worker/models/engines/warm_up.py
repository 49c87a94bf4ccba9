"""Run a network once for every size of batch it will have, so that no image waits for it."""

import logging

import numpy as np

from worker.errors import DeviceOutOfMemory, ModelInvalid, OptionConflict
from worker.models.engines.batch_sizes import ladder
from worker.models.engines.engine import Engine
from worker.models.engines.on_device import Reading
from worker.models.files.profile import Profile, input_size

log = logging.getLogger(__name__)


def warm_up(engine: Engine, *, profile: Profile, name: str) -> None:
    """Run batches of zeros up the ladder, and a black picture where the engine takes pictures.

    cuDNN searches its algorithms at the first batch of a shape, for seconds. Where a batch does not
    fit into the device's memory, the engine's `most` is lowered to what did; raises
    `DeviceOutOfMemory` when not even one image fits, and `DeviceLost`. What a model has against its
    input is left for a job to be told.
    """
    try:
        width, height = input_size(profile, fixed=engine.input_size, model=name)
        fits = 1
        for images in ladder(engine.most):
            try:
                engine.infer(np.zeros((images, 3, height, width), np.float32))
            except DeviceOutOfMemory:
                if images == 1:
                    raise
                log.warning(
                    "%s: %d images at once do not fit into the memory; at most %d will be",
                    *(name, images, fits),
                )
                engine.most = fits
                break
            fits = images
        if engine.pictures is not None:
            black = np.zeros((height, width, 3), np.uint8)
            picture = engine.pictures.upload(black, (width, height))
            engine.pictures.masks([picture], Reading.of(profile, (width, height)))
    except (ModelInvalid, OptionConflict) as error:
        log.warning("%s could not be tried out: %s", name, error)
