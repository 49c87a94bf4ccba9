"""One image through the pipeline's pure part, alone in its process's memory."""

from typing import Final

from producer.options import Options
from worker.cutout import CutOut, Limits, cut_out
from worker.models.store import ModelFile
from worker.segment import Models
from worker.stopwatch import Stopwatch

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
            lambda: data,
            options,
            length=len(data),
            file=file,
            models=models,
            limits=limits,
            share=share,
            watch=Stopwatch(),
            want_image=want_image,
        )
