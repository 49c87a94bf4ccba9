"""GPU facts of this machine, and errors of a real device."""

import ctypes
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.patience import PATIENCE
from tests.support.short_memory import in_a_process
from worker.errors import DeviceOutOfMemory, GpuUnavailable
from worker.models.batching import Batcher
from worker.models.engines import gpu
from worker.models.engines.load import choose_device
from worker.models.engines.torch import engine as torch_engine
from worker.models.files.store import ModelStore
from worker.models.process_end import EXIT_CODE


def has_driver() -> bool:
    try:
        return bool(ctypes.CDLL("libcuda.so.1").cuInit(0) == 0)
    except OSError:
        return False


@pytest.mark.skipif(has_driver(), reason="this machine has an NVIDIA driver")
@pytest.mark.parametrize("model", ["isnet-general-use", "torch"])
def test_this_machine_has_no_driver(
    store: ModelStore, model: str, request: pytest.FixtureRequest
) -> None:
    name = str(request.getfixturevalue("isnet_pth")) if model == "torch" else model
    file = store.resolve(name)
    with pytest.raises(GpuUnavailable, match=r"device_mode=require_gpu: .*install") as caught:
        choose_device(file, "require_gpu")
    assert caught.value.code == "gpu_no_driver"
    for mode in ("auto", "prefer_gpu"):
        place = choose_device(file, mode)
        assert place.device == "cpu"
        assert place.reason is not None
        assert place.reason.code == "gpu_no_driver"
    assert choose_device(file, "cpu").reason is None


@pytest.mark.skipif(not has_driver(), reason="needs an NVIDIA driver")
def test_the_driver_of_this_machine_reports_its_devices() -> None:
    driver = gpu.driver()
    assert driver.cuda is not None
    assert driver.cuda >= (11, 0)
    assert driver.devices >= 1
    assert driver.memory > 2**30


def torch_starts() -> bool:
    import torch

    return torch.cuda.is_available()


def batches_under_a_limit(path: Path) -> tuple[str, list[tuple[int, ...]]]:
    """Return the error for a batch that does not fit, and the shapes of maps from smaller ones."""
    import torch

    engine = torch_engine.load_torch_engine(path, device="cuda", threads=0)
    images = [np.full((1, 3, 1024, 1024), level, np.float32) for level in (-0.5, 0, 0.5, 0.2)]
    engine.infer(images[0])
    room = torch.cuda.max_memory_reserved() / torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, 1.5 * room))
    try:
        engine.infer(np.concatenate(images * 8))
        sentence = "it fits"
    except DeviceOutOfMemory as error:
        sentence = str(error)
    batcher: Batcher[NDArray[np.float32], NDArray[np.float32]] = Batcher(
        lambda batch: list(engine.infer(np.concatenate(batch))),
        max_batch=lambda _: 4,
        group_key=lambda _: None,
        is_out_of_memory=lambda error: isinstance(error, DeviceOutOfMemory),
        free_memory=gpu.release_cached_memory,
    )
    turns = [batcher.submit(image) for image in images * 8]
    return sentence, [batcher.wait(turn).result.shape for turn in turns]


@pytest.mark.skipif(not torch_starts(), reason="needs a CUDA device")
def test_a_batch_that_does_not_fit_on_a_gpu_is_run_in_parts(isnet_pth: Path) -> None:
    sentence, shapes = in_a_process(batches_under_a_limit, isnet_pth)
    assert "expected enough memory on cuda:0, found too little (CUDA out of memory" in sentence
    assert shapes == [(1024, 1024)] * 32


LOST = """
import sys, numpy as np, torch
from pathlib import Path
from worker.models.engines.torch import engine as torch_engine
from worker.models.watchdog import Watchdog

engine = torch_engine.load_torch_engine(Path(sys.argv[1]), device="cuda", threads=0)
torch._assert_async(torch.zeros(1, device="cuda"))
with Watchdog(device_timeout=60).watch("isnet on cuda:0"):
    engine.infer(np.zeros((1, 3, 64, 64), np.float32))
"""


@pytest.mark.skipif(not torch_starts(), reason="needs a CUDA device")
def test_a_lost_gpu_ends_the_process(isnet_pth: Path) -> None:
    """A failed assertion in a kernel makes the CUDA context of the process unusable."""
    done = subprocess.run(
        [sys.executable, "-c", LOST, str(isnet_pth)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == EXIT_CODE
    assert "isnet on cuda:0: the device is lost" in done.stderr
