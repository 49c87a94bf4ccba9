"""What ONNX Runtime is told of the device it is to run on."""

from pathlib import Path
from typing import Final, NamedTuple

from onnx import ModelProto

from worker.models.engines.onnx.graph import WEIGHTS
from worker.models.engines.onnx.output import shape
from worker.models.files.profile import Profile, input_size

Provider = tuple[str, dict[str, str]]

CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"
TENSORRT: Final = "TensorrtExecutionProvider"


class EngineShapes(NamedTuple):
    """What an engine of TensorRT is built for."""

    folder: Path
    """Where it is kept, for this graph alone."""
    half: bool
    """Whether the graph's weights are half precision."""
    least: str
    """The smallest input, as `name:1x3x1024x1024`."""
    most: str
    """The largest, which it is tuned for too."""


def providers(
    device: str, *, number: int = 0, exact: bool = False, engine: EngineShapes | None = None
) -> list[Provider]:
    """The providers for `cpu` or `cuda`, the first choice first, each with its options.

    `number`: of the CUDA device. `exact`: products in single precision and not TF32. `engine`:
    TensorRT is to run what it can.
    """
    chosen: list[Provider] = [(CPU, {})]
    if device != "cpu":
        chosen.insert(0, (CUDA, _cuda(number, exact=exact)))
        if engine is not None:
            chosen.insert(0, (TENSORRT, _tensorrt(number, engine)))
    return chosen


def engine_shapes(
    model: ModelProto, *, profile: Profile, name: str, most: int, folder: Path
) -> EngineShapes:
    """What TensorRT is to build for a prepared graph: batches of 1 to `most` of one input size.

    A graph for one image stays so. Raises `OptionConflict` where profile and graph contradict.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    (value,) = (value for value in model.graph.input if value.name not in weights)
    axes = shape(value) or (None,) * 4
    nchw = profile.layout == "nchw"
    high, wide = (
        axis if isinstance(axis, int) else None for axis in (axes[2:] if nchw else axes[1:3])
    )
    width, height = input_size(profile, fixed=(wide, high), model=name)
    sides = (3, height, width) if nchw else (height, width, 3)
    least, largest = (
        f"{value.name}:" + "x".join(str(side) for side in (images, *sides))
        for images in (1, axes[0] if isinstance(axes[0], int) else most)
    )
    facts = {item.key: item.value for item in model.metadata_props}
    return EngineShapes(folder, facts.get(WEIGHTS) == "float16", least, largest)


def _cuda(number: int, *, exact: bool) -> dict[str, str]:
    return {
        "device_id": str(number),
        # Each convolution is tried in every way once for a shape, and there are few: the ladder's,
        # which are run when the model is loaded.
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        # Without it the search leaves out what needs more than 32 MB to work in.
        "cudnn_conv_use_max_workspace": "1",
        # The default would double the arena where a batch is a little larger than the last.
        "arena_extend_strategy": "kSameAsRequested",
        "use_tf32": "0" if exact else "1",
    }


def _tensorrt(number: int, engine: EngineShapes) -> dict[str, str]:
    return {
        "device_id": str(number),
        # Building one takes minutes; its file is good for this GPU and this release alone.
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(engine.folder),
        "trt_timing_cache_enable": "1",
        "trt_fp16_enable": "1" if engine.half else "0",
        # One engine for the whole ladder: another shape would have it built again in a job's time.
        "trt_profile_min_shapes": engine.least,
        "trt_profile_opt_shapes": engine.most,
        "trt_profile_max_shapes": engine.most,
    }
