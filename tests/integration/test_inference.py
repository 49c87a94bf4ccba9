"""Inference when memory is short, in a process of its own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper

from tests.support.held_engine import HeldEngine, grey, opened, outcome, tiny, together
from tests.support.short_memory import MIB, in_a_process
from worker.models.engines.engine import Engine


def wide(path: Path) -> Engine:
    """Write a model that takes 48 MiB for an image of 256×256, and 768 MiB for 1024×1024."""
    nodes = [
        helper.make_node("Tile", ["x", "times"], ["many"]),
        helper.make_node("Exp", ["many"], ["powers"]),
        helper.make_node("ReduceMean", ["powers"], ["y"], axes=[1], keepdims=1),
    ]
    return tiny(path, nodes, numpy_helper.from_array(np.array([1, 32, 1, 1]), "times"))


def run_with_little_memory(
    folder: Path, side: int, room: int
) -> tuple[list[Any], list[int], bool, Any]:
    """Run five images in `room` bytes of memory, and one image afterwards.

    Return the results, the batch sizes, whether an idle model was closed, and the last result.
    """
    engine, idle = (HeldEngine(wide(folder / f"{name}.onnx"), "cuda:0") for name in "ab")
    cache, inference, (own, other) = opened(engine, idle)
    with cache.use(other, "cuda", keep=True):
        pass
    images = [grey(level, side) for level in range(5)]
    with cache.use(own, "cuda"):
        results = together(inference, engine, images, squeeze=room)
        batches = list(engine.batches)
        after = outcome(lambda: inference.infer(engine, grey(0), name="own").result)
    levels = [float(item.mean()) if isinstance(item, np.ndarray) else item for item in results]
    return levels, batches, idle.closed, after


def test_a_batch_that_does_not_fit_is_run_in_parts(tmp_path: Path) -> None:
    results, batches, gone, after = in_a_process(run_with_little_memory, tmp_path, 256, 125 * MIB)
    assert results == pytest.approx(np.exp(range(5)), rel=1e-5)
    assert batches[:2] == [1, 4]
    assert batches[2] == 2
    assert set(batches[2:]) <= {1, 2}
    assert gone
    assert after.mean() == 1


def test_a_single_image_that_does_not_fit_fails_with_its_code(tmp_path: Path) -> None:
    results, batches, gone, after = in_a_process(run_with_little_memory, tmp_path, 1024, 100 * MIB)
    assert {error.code for error in results} == {"out_of_memory"}
    assert str(results[0]).startswith(
        "a.onnx on an input of (1, 3, 1024, 1024): expected enough memory"
    )
    # The first image runs once more after the idle model is closed.
    assert batches[:2] == [1, 1]
    assert gone
    # A smaller image still runs.
    assert after.mean() == 1
