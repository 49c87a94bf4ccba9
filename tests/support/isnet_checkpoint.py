"""Convert the weights of an ISNet ONNX export into a checkpoint of the PyTorch network.

For tests only: the public ONNX files are easier to reach than the public ``.pth``, and the two
engines can then be compared on the same weights::

    python -m tests.support.isnet_checkpoint isnet.onnx isnet.pth
    python -m tests.support.isnet_checkpoint isnet.onnx isnet-base.safetensors --base
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from safetensors.torch import save_file
from torch import Tensor, nn

__all__ = ["checkpoint_from_onnx", "main"]

_OTHER_SIDES = ("side2.", "side3.", "side4.", "side5.", "side6.")


def checkpoint_from_onnx(onnx_path: Path) -> dict[str, Tensor]:
    """Read an ISNet export into the state dict of ``worker.models.engines.torch.isnet.ISNetDIS``.

    The exporter names each node by its module's path (``/stage1/rebnconv2/conv_s1/Conv``), so the
    weights are matched by name; the order of the nodes in the file does not matter.

    Args:
        onnx_path: the export, weights in float16 or float32, BatchNorm folded into them.

    Returns:
        Parameter name to contiguous tensor, no two sharing memory; float32, the counters int64.

    Raises:
        ValueError: a convolution's weights are not stored in the file.
    """
    graph = onnx.load(onnx_path).graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    state: dict[str, Tensor] = {}
    for node in graph.node:
        if node.op_type != "Conv":
            continue
        module = node.name.strip("/").removesuffix("/Conv").replace("/", ".")
        for kind, name in zip(("weight", "bias"), node.input[1:], strict=True):
            if name not in stored:
                raise ValueError(f"expected the {kind} of {node.name} in the file, as {name!r}")
            array = numpy_helper.to_array(stored[name]).astype(np.float32)
            state[f"{module}.{kind}"] = torch.from_numpy(array)
        if module.endswith(".conv_s1"):
            channels = state[f"{module}.bias"].numel()
            state |= _identity(module.removesuffix("conv_s1") + "bn_s1", channels)
    return state


def _identity(name: str, channels: int) -> dict[str, Tensor]:
    """A BatchNorm that changes nothing: the export has folded the real one into the convolution.

    It computes (x - mean) / sqrt(var + eps) * weight + bias. eps belongs to the module and not to
    the state dict, so it cannot be set to 0 from here; var = 1 - eps brings var + eps back to 1
    instead, exactly in float32. With var = 1 each of the 112 layers would shrink its input by
    eps / 2, and the map would be off by 5e-6: more than it differs from the export otherwise.
    """
    eps = nn.BatchNorm2d(1).eps
    return {
        f"{name}.weight": torch.ones(channels),
        f"{name}.bias": torch.zeros(channels),
        f"{name}.running_mean": torch.zeros(channels),
        f"{name}.running_var": torch.full((channels,), 1 - eps),
        f"{name}.num_batches_tracked": torch.tensor(0),
    }


def main() -> None:
    """Convert the file that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.isnet_checkpoint")
    parser.add_argument("onnx_path", metavar="MODEL.onnx", type=Path)
    parser.add_argument("out", metavar="OUT", type=Path, help="a .pth or .safetensors file")
    parser.add_argument("--base", action="store_true", help="drop side2…side6: an ISNetBase")
    arguments = parser.parse_args()
    out: Path = arguments.out
    if out.suffix not in {".pth", ".safetensors"}:
        parser.error(f"expected OUT to end in .pth or .safetensors, found {out.name}")
    state = checkpoint_from_onnx(arguments.onnx_path)
    if arguments.base:
        state = {name: t for name, t in state.items() if not name.startswith(_OTHER_SIDES)}
    if out.suffix == ".safetensors":
        save_file(state, out)
    else:
        torch.save(state, out)
    print(f"{out}: {len(state)} tensors, {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
