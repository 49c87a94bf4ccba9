"""Whether there is a GPU, why there is none, and what an outcome records about it."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.tiny_models import channel_mean, loaded
from worker.errors import GpuUnavailable
from worker.models.engines import gpu
from worker.models.engines.gpu import Driver, GpuFacts, unavailable_reason
from worker.models.engines.load import Placement, check_device, device_warnings

DRIVER = Driver(cuda=(12, 4), devices=2, memory=2**34)
FACTS = GpuFacts(
    driver=DRIVER,
    library="onnxruntime 1.31.1",
    install="cutwork[worker-gpu]",
    has_cuda=True,
    cuda=(12, 8),
)
NO_DRIVER = Driver(cuda=None, problem="libcuda.so.1: cannot open shared object file")


@pytest.mark.parametrize(
    "facts",
    [
        FACTS,
        replace(FACTS, cuda=None),
        replace(FACTS, cuda=(11, 8)),
        replace(FACTS, driver=replace(DRIVER, cuda=(13, 0))),
    ],
)
def test_a_gpu_is_available(facts: GpuFacts) -> None:
    assert unavailable_reason(facts) is None


@pytest.mark.parametrize(
    ("facts", "code", "sentence"),
    [
        (replace(FACTS, driver=NO_DRIVER), "gpu_no_driver", "libcuda.so.1: cannot open"),
        (replace(FACTS, driver=replace(DRIVER, devices=0)), "gpu_no_driver", "nvidia-container"),
        # The driver must be installed before anything else.
        (replace(FACTS, driver=NO_DRIVER, has_cuda=False), "gpu_no_driver", "install the driver"),
        (
            replace(FACTS, driver=NO_DRIVER, finds_device=False),
            "gpu_no_driver",
            "install the driver",
        ),
        (
            replace(FACTS, has_cuda=False, cuda=None),
            "gpu_no_provider",
            "install cutwork[worker-gpu] in its place",
        ),
        (
            replace(FACTS, driver=replace(DRIVER, cuda=(11, 4))),
            "gpu_wrong_cuda",
            "built for CUDA 12.8, the driver runs CUDA 11.4 at most; install a newer driver",
        ),
        (
            replace(FACTS, driver=replace(DRIVER, cuda=(11, 4)), missing_library="libcudnn.so.9"),
            "gpu_wrong_cuda",
            "install a newer driver",
        ),
        (
            replace(FACTS, missing_library="libcudnn.so.9"),
            "gpu_wrong_cuda",
            "built for CUDA 12.8, needs libcudnn.so.9, which cannot be loaded; install CUDA",
        ),
        (
            replace(FACTS, missing_library="libcudnn.so.9", cuda=None),
            "gpu_wrong_cuda",
            "needs libcudnn.so.9",
        ),
        (replace(FACTS, finds_device=False), "gpu_unavailable", "has 2 devices, but onnxruntime"),
    ],
)
def test_the_reason_says_what_to_install(facts: GpuFacts, code: str, sentence: str) -> None:
    reason = unavailable_reason(facts)
    assert isinstance(reason, GpuUnavailable)
    assert reason.code == code
    assert sentence in str(reason)


def test_the_facts_of_torch_are_those_that_torch_reports() -> None:
    import torch

    facts = gpu.torch_facts()
    assert facts.library == f"torch {torch.__version__}"
    assert facts.has_cuda == (torch.version.cuda is not None)
    assert facts.finds_device == torch.cuda.is_available()


@pytest.mark.parametrize(
    ("mode", "device", "code", "warns"),
    [
        ("cpu", "cpu", None, False),
        ("auto", "cpu", "gpu_no_driver", False),
        ("prefer_gpu", "cpu", "gpu_no_driver", True),
        # Chosen, but CUDA did not start.
        ("auto", "cuda", "gpu_unavailable", True),
        ("prefer_gpu", "cuda", "gpu_unavailable", True),
    ],
)
def test_the_fallback_to_the_cpu_is_recorded(
    tmp_path: Path, mode: str, device: str, code: str | None, warns: bool
) -> None:
    engine = loaded(channel_mean(tmp_path / "own.onnx"))
    reason = None
    if device == "cpu" and mode != "cpu":
        reason = unavailable_reason(replace(FACTS, driver=NO_DRIVER))
    place = Placement(device=device, device_mode=mode, reason=reason)
    fallback = check_device(engine, place)
    assert (fallback.code if fallback else None) == code
    warnings = device_warnings(engine, place, fallback)
    assert bool(warnings) == warns
    if warns:
        start = f"device_mode={mode}: the model is on the CPU (CPUExecutionProvider); "
        assert warnings[0].startswith(start)


def test_a_required_gpu_that_does_not_start_is_an_error(tmp_path: Path) -> None:
    engine = loaded(channel_mean(tmp_path / "own.onnx"))
    place = Placement(device="cuda", device_mode="require_gpu")
    with pytest.raises(GpuUnavailable, match="did not start") as caught:
        check_device(engine, place)
    assert caught.value.code == "gpu_unavailable"
