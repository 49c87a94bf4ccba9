"""Execution providers: the options that ONNX Runtime gets for a device."""

from pathlib import Path
from typing import Final

from onnx import ModelProto

from worker.models.engines.onnx.output import shape_of
from worker.models.engines.onnx.recorded_facts import WEIGHT_TYPE_KEY
from worker.models.files.profile import Profile, input_size

Options = dict[str, str]

CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"
TENSORRT: Final = "TensorrtExecutionProvider"


def providers(
    device: str, *, device_id: int = 0, exact: bool = False, tensorrt: Options | None = None
) -> list[tuple[str, Options]]:
    """Return the providers for `cpu` or `cuda` with their options, the preferred one first.

    `device_id` is CUDA's number of the device. `exact` computes products in float32 instead of
    TF32. With `tensorrt`, see `tensorrt_options`, TensorRT runs the nodes that it supports.
    """
    cpu: tuple[str, Options] = (CPU, {})
    if device == "cpu":
        return [cpu]
    cuda = {
        "device_id": str(device_id),
        # Every algorithm is timed once for each shape. There are few shapes: the batch sizes, which
        # run at warm-up.
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        # Without it the search excludes algorithms that need more than 32 MB of workspace.
        "cudnn_conv_use_max_workspace": "1",
        # The default would double the arena when a batch is slightly larger than the last one.
        "arena_extend_strategy": "kSameAsRequested",
        "use_tf32": "0" if exact else "1",
    }
    first = [] if tensorrt is None else [(TENSORRT, {"device_id": str(device_id), **tensorrt})]
    return [*first, (CUDA, cuda), cpu]


def tensorrt_options(
    model: ModelProto, profile: Profile, *, name: str, max_batch: int, cache_folder: Path
) -> Options:
    """Return the options for an engine of a prepared graph: batches of 1 to `max_batch`, one size.

    The built engine is stored in `cache_folder`; each graph needs a folder of its own. A graph with
    a fixed batch of 1 keeps it. Raises `OptionConflict` where profile and graph contradict each
    other.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    (value,) = (value for value in model.graph.input if value.name not in weights)
    axes = shape_of(value) or (None,) * 4
    nchw = profile.layout == "nchw"
    fixed_height, fixed_width = (
        axis if isinstance(axis, int) else None for axis in (axes[2:] if nchw else axes[1:3])
    )
    width, height = input_size(profile, fixed=(fixed_width, fixed_height), model=name)
    image_shape = (3, height, width) if nchw else (height, width, 3)
    min_shape, max_shape = (
        f"{value.name}:" + "x".join(str(side) for side in (images, *image_shape))
        for images in (1, axes[0] if isinstance(axes[0], int) else max_batch)
    )
    metadata = {item.key: item.value for item in model.metadata_props}
    return {
        # Building an engine takes minutes. Its file is valid for this GPU model and this release.
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(cache_folder),
        "trt_timing_cache_enable": "1",
        "trt_fp16_enable": "1" if metadata.get(WEIGHT_TYPE_KEY) == "float16" else "0",
        # One engine for all batch sizes: a shape outside this range would start a new build during
        # a job.
        "trt_profile_min_shapes": min_shape,
        "trt_profile_opt_shapes": max_shape,
        "trt_profile_max_shapes": max_shape,
    }
