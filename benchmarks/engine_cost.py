"""A comparison of the own engine with ONNX Runtime on a CPU."""

import os
from functools import partial
from statistics import median
from typing import Final, Literal

from benchmarks.figure import Figure
from benchmarks.peak_memory import peak_memory
from benchmarks.throughput import Loop, bare_model, in_a_process

_ROUNDS: Final = 5
_RUNS: Final = 2


def engines() -> list[Figure]:
    """Measure images per second and peak memory of both in turns, each in its own process."""
    ours, theirs = [], []
    with (
        in_a_process(partial(_loop, "auto")) as mine,
        in_a_process(partial(_loop, "onnxruntime")) as other,
    ):
        for _ in range(_ROUNDS):
            theirs.append(other(_RUNS))
            ours.append(mine(_RUNS))
        # A loop without images returns the peak memory.
        memory = [loop(0) / 1e9 for loop in (mine, other)]
    return [
        Figure(
            what="images/s of the own engine ÷ those of ONNX Runtime, network only, CPU",
            value=median(ours) / median(theirs),
            how=f"{median(ours):.3f} ÷ {median(theirs):.3f} images/s; processes of "
            f"{memory[0]:.2f} and {memory[1]:.2f} GB",
            samples={"ours, images/s": ours, "ONNX Runtime, images/s": theirs},
        )
    ]


def _loop(engine: Literal["auto", "onnxruntime"]) -> Loop:
    run = bare_model(engine)
    return lambda images: run(int(images)) if images else peak_memory(os.getpid())
