"""ISNet, the network of "Highly Accurate Dichotomous Image Segmentation".

Source: X. Qin et al., ECCV 2022, https://arxiv.org/abs/2203.03041. Names and shapes of the
parameters follow the reference implementation https://github.com/xuebinqin/DIS, so its public
checkpoints (``isnet-general-use.pth``) load unchanged.

A U-Net whose every stage is itself a small U-Net (a residual U-block, RSU; from U²-Net,
https://arxiv.org/abs/2005.09007)::

    image ─conv_in─ stage1 ─ stage2 ─ stage3 ─ stage4 ─ stage5 ─ stage6
                      │        │        │        │        │        │
            d1 ─── stage1d  stage2d  stage3d  stage4d  stage5d ────┘      (d2…d6 alike)
"""

from collections.abc import Mapping, Sequence
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - the name in PyTorch's documentation
from torch import Tensor, nn

_MAX_NAMES_IN_ERRORS = 3
_WEIGHT_TYPES: Final = {torch.float16, torch.bfloat16, torch.float32, torch.float64}


def _resize_to(x: Tensor, like: Tensor) -> Tensor:
    """Resize bilinearly, without aligned corners; return ``x`` itself if it has the size."""
    size = like.shape[2:]
    if x.shape[2:] == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def _halve(x: Tensor) -> Tensor:
    """Max-pool to half the size; an odd side rounds up, so that no row or column is lost."""
    return F.max_pool2d(x, kernel_size=2, stride=2, ceil_mode=True)


class _ConvNormReLU(nn.Module):
    """A 3×3 convolution that keeps the size, batch normalisation and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, *, dilation: int = 1) -> None:
        super().__init__()
        self.conv_s1 = nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation)
        self.bn_s1 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn_s1(self.conv_s1(x)), inplace=True)


class RSU(nn.Module):
    """Residual U-block: a U-Net of ``height`` levels around a shortcut.

    The paper's RSU7, RSU6, RSU5 and RSU4 have ``height`` 7…4: each level halves the map, except
    the last one, which has a dilation of 2 instead. Its RSU4F is ``height=4, dilated=True``: the
    map keeps its size and the dilation doubles per level (1, 2, 4, 8). Inside the inner U-Net, maps
    have ``mid_ch``.
    """

    def __init__(
        self, height: int, in_ch: int, mid_ch: int, out_ch: int, *, dilated: bool = False
    ) -> None:
        super().__init__()
        self.height = height
        self.dilated = dilated
        self.rebnconvin = _ConvNormReLU(in_ch, out_ch)
        for level in range(1, height + 1):
            dilation = 2 ** (level - 1) if dilated else 2 if level == height else 1
            width = out_ch if level == 1 else mid_ch
            block = _ConvNormReLU(width, mid_ch, dilation=dilation)
            self.add_module(f"rebnconv{level}", block)
        for level in range(height - 1, 0, -1):
            dilation = 2 ** (level - 1) if dilated else 1
            width = out_ch if level == 1 else mid_ch
            block = _ConvNormReLU(2 * mid_ch, width, dilation=dilation)
            self.add_module(f"rebnconv{level}d", block)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_ch, H, W) to (N, out_ch, H, W)."""
        shortcut: Tensor = self.rebnconvin(x)
        hx: Tensor = shortcut
        skips: list[Tensor] = []
        for level in range(1, self.height):
            hx = self.get_submodule(f"rebnconv{level}")(hx)
            skips.append(hx)
            if not self.dilated and level < self.height - 1:
                hx = _halve(hx)
        hx = self.get_submodule(f"rebnconv{self.height}")(hx)
        for level in range(self.height - 1, 0, -1):
            skip = skips.pop()
            hx = torch.cat((_resize_to(hx, skip), skip), dim=1)
            hx = self.get_submodule(f"rebnconv{level}d")(hx)
        return hx + shortcut


class ISNetBase(nn.Module):
    """ISNet with only its finest side output; checkpoints such as ``isnetis`` have this form."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, 64, 3, stride=2, padding=1)
        self.stage1 = RSU(7, 64, 32, 64)
        self.stage2 = RSU(6, 64, 32, 128)
        self.stage3 = RSU(5, 128, 64, 256)
        self.stage4 = RSU(4, 256, 128, 512)
        self.stage5 = RSU(4, 512, 256, 512, dilated=True)
        self.stage6 = RSU(4, 512, 256, 512, dilated=True)
        self.stage5d = RSU(4, 1024, 256, 512, dilated=True)
        self.stage4d = RSU(4, 1024, 128, 256)
        self.stage3d = RSU(5, 512, 64, 128)
        self.stage2d = RSU(6, 256, 32, 64)
        self.stage1d = RSU(7, 128, 16, 64)
        self.side1 = nn.Conv2d(64, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Do the same as :meth:`saliency`."""
        return self.saliency(x)

    def saliency(self, x: Tensor) -> Tensor:
        """Return only the finest side output, d1: maps (N, 1, H, W) with values in 0…1.

        ``x`` are images (N, 3, H, W), normalised, in the dtype of the convolutions.
        """
        return _side_map(self.side1, self._decode(x)[0], x)

    def _decode(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the decoders' features, fine to coarse: hx1d, hx2d, hx3d, hx4d, hx5d, hx6."""
        hx1 = self.stage1(self.conv_in(x))
        hx2 = self.stage2(_halve(hx1))
        hx3 = self.stage3(_halve(hx2))
        hx4 = self.stage4(_halve(hx3))
        hx5 = self.stage5(_halve(hx4))
        hx6 = self.stage6(_halve(hx5))
        hx5d = self.stage5d(torch.cat((_resize_to(hx6, hx5), hx5), dim=1))
        hx4d = self.stage4d(torch.cat((_resize_to(hx5d, hx4), hx4), dim=1))
        hx3d = self.stage3d(torch.cat((_resize_to(hx4d, hx3), hx3), dim=1))
        hx2d = self.stage2d(torch.cat((_resize_to(hx3d, hx2), hx2), dim=1))
        hx1d = self.stage1d(torch.cat((_resize_to(hx2d, hx1), hx1), dim=1))
        return hx1d, hx2d, hx3d, hx4d, hx5d, hx6


class ISNetDIS(ISNetBase):
    """ISNet with all six side outputs, as in ``isnet-general-use``; ``saliency`` spares five."""

    def __init__(self) -> None:
        super().__init__()
        self.side2 = nn.Conv2d(64, 1, 3, padding=1)
        self.side3 = nn.Conv2d(128, 1, 3, padding=1)
        self.side4 = nn.Conv2d(256, 1, 3, padding=1)
        self.side5 = nn.Conv2d(512, 1, 3, padding=1)
        self.side6 = nn.Conv2d(512, 1, 3, padding=1)

    # The two published networks return different things; callers of either use `saliency`.
    def forward(  # type: ignore[override]
        self, x: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return the side outputs d1…d6 and the features hx1d…hx5d, hx6 they are made from."""
        features = self._decode(x)
        sides = (self.side1, self.side2, self.side3, self.side4, self.side5, self.side6)
        maps = (_side_map(side, hx, x) for side, hx in zip(sides, features, strict=True))
        return tuple(maps), features


def _side_map(side: nn.Conv2d, features: Tensor, image: Tensor) -> Tensor:
    """Return a side output at the image's size; as in the original, the sigmoid comes last."""
    return torch.sigmoid(_resize_to(side(features), image))


def network_for(state_dict: Mapping[str, Tensor]) -> ISNetBase:
    """Build the ISNet that a state dict belongs to, and load the state dict strictly.

    The network is in evaluation mode, on the CPU, in float32: an ``ISNetDIS`` where the state dict
    has ``side2.weight``, else an ``ISNetBase``. Raises `ValueError` where names or shapes differ
    from those of the network, a weight is not of 16, 32 or 64 floating-point bits, or a tensor is
    not dense.
    """
    network = unloaded_network_for({name: tensor.shape for name, tensor in state_dict.items()})
    network.to_empty(device="cpu")
    counters = _counters(network)
    for name, tensor in state_dict.items():
        if name not in counters and tensor.dtype not in _WEIGHT_TYPES:
            raise ValueError(
                f"expected weights of float16, bfloat16, float32 or float64, found {tensor.dtype} "
                f"at {name}, whose scale is unknown; convert the network to float32 and save again"
            )
    try:
        network.load_state_dict({name: torch.tensor(0) for name in counters} | dict(state_dict))
    except RuntimeError as error:  # A meta tensor has the right name and shape, but no data.
        raise ValueError(f"expected dense tensors on the CPU, but {error}") from error
    return network.eval()


def unloaded_network_for(shapes: Mapping[str, Sequence[int]]) -> ISNetBase:
    """Return the ISNet with tensors of these names and shapes, on torch's device ``meta``.

    Raises `ValueError` where names or shapes differ from those of the network.
    """
    kind = ISNetDIS if "side2.weight" in shapes else ISNetBase
    with torch.device("meta"):  # Nothing is allocated or initialised before the names match.
        network = kind()
    expected = network.state_dict()
    counters = _counters(network)
    required = [name for name in expected if name not in counters]
    wrong_shapes = [
        f"{name} {tuple(shapes[name])} instead of {tuple(expected[name].shape)}"
        for name in expected
        if name in shapes and tuple(shapes[name]) != tuple(expected[name].shape)
    ]
    problems = [
        _count_and_name("missing", [name for name in required if name not in shapes]),
        _count_and_name("unexpected", [name for name in shapes if name not in expected]),
        _count_and_name("of another shape", wrong_shapes),
    ]
    if any(problems):
        raise ValueError(
            f"expected the {len(required)} tensors of {kind.__name__}, but of the "
            f"{len(shapes.keys() - counters)} found, " + "; ".join(filter(None, problems))
        )
    return network


def _counters(network: ISNetBase) -> set[str]:
    """Return the names of batch counters: unused in evaluation, and commonly dropped."""
    return {name for name in network.state_dict() if name.endswith(".num_batches_tracked")}


def _count_and_name(what: str, names: Sequence[str]) -> str:
    """Return ``3 missing (a, b, …)``, or an empty text for no names."""
    if not names:
        return ""
    more = ", …" if len(names) > _MAX_NAMES_IN_ERRORS else ""
    return f"{len(names)} {what} ({', '.join(names[:_MAX_NAMES_IN_ERRORS])}{more})"
