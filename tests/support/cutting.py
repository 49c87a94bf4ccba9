"""One image through the pipeline's pure part, alone in its process's memory."""

import io
from typing import Final

from producer.contract.options import Options
from worker.models.files.store import ModelFile
from worker.observability.stopwatch import Stopwatch
from worker.pipeline.cutout import CutOut, Limits, cut_out
from worker.pipeline.segment import Models

MEMORY: Final = 16 * 2**30


def cut_alone(
    data: bytes,
    options: Options,
    *,
    file: ModelFile | None,
    models: Models,
    memory: int = MEMORY,
    want_image: bool = True,
) -> CutOut:
    limits = Limits.of(decoded=10**8, matted=10**7, matting_seconds=60, memory=memory)
    with limits.pictures.share() as share:
        return cut_out(
            io.BytesIO(data),
            options,
            length=len(data),
            file=file,
            models=models,
            limits=limits,
            share=share,
            watch=Stopwatch(),
            want_image=want_image,
        )
