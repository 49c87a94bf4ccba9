"""Warm-up on a device whose memory is short, in a process of its own."""

import logging
from pathlib import Path

from tests.support.recording_engine import RecordingEngine, tiled_mean
from tests.support.short_memory import MIB, in_a_process, leave
from tests.support.tiny_models import loaded
from worker.errors import DeviceOutOfMemory
from worker.models.engines.warm_up import warm_up
from worker.models.files.profile import Profile


def run_with_little_memory(folder: Path, side: int) -> tuple[str, list[int], int]:
    """Warm up in 125 MiB; return the log line, the batches that ran and `max_batch` afterwards."""
    engine = RecordingEngine(loaded(tiled_mean(folder / "own.onnx", "n", 3, "h", "w"), max_batch=8))
    engine.segmenter = None
    warm_up(engine, profile=Profile(size=32), name="own")
    engine.shapes.clear()
    sentences: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: sentences.append(record.getMessage())  # type: ignore[method-assign]  # a handler of one line
    logging.getLogger("worker.models.engines.warm_up").addHandler(handler)
    leave(125 * MIB)
    try:
        warm_up(engine, profile=Profile(size=side), name="own")
    except DeviceOutOfMemory as error:
        sentences.append(str(error))
    return sentences[0], [shape[0] for shape in engine.shapes], engine.max_batch


def test_batch_sizes_that_do_not_fit_are_not_used(tmp_path: Path) -> None:
    sentences, batches, max_batch = in_a_process(run_with_little_memory, tmp_path, 256)
    assert (
        f"a batch of {batches[-1]} does not fit into the memory; batches have at most {max_batch}"
        in sentences
    )
    assert batches in ([1, 2], [1, 2, 4])
    assert max_batch == batches[-2]


def test_a_device_without_memory_for_one_image_is_an_error(tmp_path: Path) -> None:
    sentences, batches, _ = in_a_process(run_with_little_memory, tmp_path, 1024)
    assert sentences.startswith(
        "own.onnx on an input of (1, 3, 1024, 1024): expected enough memory"
    )
    assert batches == [1]
