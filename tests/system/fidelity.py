"""How closely the presets follow the systems they replace; `make fidelity` prints it as a table.

    python -m tests.system.fidelity [PHOTOGRAPH]…

The bounds are those of the project's issue 3. A figure beyond its bound is marked, and the exit
status is then 1.
"""

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from producer.contract.options import Options
from tests.support.cutting import refine_alone
from tests.support.isnet_checkpoint import checkpoint_from_onnx
from tests.support.originals import ISNetSegment, SegmentationCustom, opened
from tests.support.photographs import Photograph, photographs
from worker.config.settings import ModelSettings
from worker.imaging.decode import Picture, open_image
from worker.imaging.masks import binarise
from worker.models.engines.onnx.full_precision import convert_to_float32
from worker.models.engines.torch.isnet import ISNetBase, network_for
from worker.models.files.store import ModelStore
from worker.observability.stopwatch import Stopwatch
from worker.pipeline.factory import open_models, open_store
from worker.pipeline.recipe import Recipe
from worker.pipeline.segment import Models, load_model, segment

THRESHOLDS: Final = (0.3, 0.5, 0.9)
Levels = NDArray[np.uint8 | np.uint16]


class Bound(NamedTuple):
    """The bound of a figure."""

    at_least: float | None = None
    at_most: float | None = None

    def holds(self, value: float) -> bool:
        """Return whether a value is within the bound."""
        if self.at_most is not None:
            return value <= self.at_most
        return self.at_least is None or value >= self.at_least

    def worse(self, first: float, second: float) -> float:
        """Return the worse of two values."""
        return min(first, second) if self.at_most is None else max(first, second)

    def __str__(self) -> str:
        return f"≥ {self.at_least:g}" if self.at_most is None else f"≤ {self.at_most:g}"


BOUNDS: Final = {
    "isnet-segment: soft map, levels off": Bound(at_most=1),
    **{
        f"isnet-segment: mask at {threshold}, % equal": Bound(at_least=99.98)
        for threshold in THRESHOLDS
    },
    "segmentation-custom: mask, levels off": Bound(at_most=1),
    "segmentation-custom: post-processed, levels off": Bound(at_most=1),
    "segmentation-custom: RGBA, levels off": Bound(at_most=1),
    "segmentation-custom: matted RGBA, % within 2": Bound(at_least=99.5),
}
"""The figures of one photograph, in the order of the table."""


@dataclass
class Systems:
    """Both originals and Cutwork, on the same weights in full precision."""

    folder: Path
    settings: ModelSettings = field(default_factory=ModelSettings.read)

    @cached_property
    def store(self) -> ModelStore:
        """The model store of Cutwork."""
        return open_store(self.settings, local_paths=True)

    @cached_property
    def models(self) -> Models:
        """The models of Cutwork."""
        return open_models(self.settings, self.store)

    @cached_property
    def onnx(self) -> Path:
        """The real weights as an ONNX export in full precision, with all outputs."""
        model = onnx.load(self.store.resolve("isnet-general-use").path)
        convert_to_float32(model)
        path = self.folder / "isnet.onnx"
        onnx.save(model, path)
        return path

    @cached_property
    def pth(self) -> Path:
        """The same weights as a checkpoint."""
        path = self.folder / "isnet.pth"
        torch.save(checkpoint_from_onnx(self.onnx), path)
        return path

    @cached_property
    def network(self) -> ISNetBase:
        """The network of the PyTorch original."""
        return network_for(checkpoint_from_onnx(self.onnx))

    @cached_property
    def isnet_segment(self) -> ISNetSegment:
        """The PyTorch original."""
        return ISNetSegment(self.network)

    @cached_property
    def segmentation_custom(self) -> SegmentationCustom:
        """The ONNX original, with the node's default values."""
        return SegmentationCustom(self.onnx)

    def soft_mask(self, picture: Picture, options: Options) -> Levels:
        """Return the soft mask that Cutwork's model makes of a picture."""
        recipe, watch = Recipe.resolve(options, file=self.store.resolve(options.model)), Stopwatch()
        with load_model(recipe, models=self.models, watch=watch) as model:
            return segment(picture, recipe, model=model, watch=watch)[0]


def figures(item: Photograph, systems: Systems) -> Iterator[tuple[str, float]]:
    """Return the figures of one photograph by their names in `BOUNDS`."""
    values = (*_isnet(item, systems), *_custom(item, systems))
    return zip(BOUNDS, values, strict=True)


def _isnet(item: Photograph, systems: Systems) -> Iterator[float]:
    picture = open_image(item.data, max_pixels=10**8).decode()
    options = Options(preset="isnet-segment", model=str(systems.pth))
    ours = systems.soft_mask(picture, options)
    theirs = systems.isnet_segment.soft(np.asarray(opened(item.data).convert("RGB")))
    yield levels_off(ours, theirs)
    for threshold in THRESHOLDS:
        same = binarise(ours, threshold) == systems.isnet_segment.mask(theirs, threshold)
        yield 100 * float(same.mean())


def _custom(item: Photograph, systems: Systems) -> Iterator[float]:
    picture = open_image(item.data, max_pixels=10**8).decode()
    base = Options(preset="segmentation-custom", model=str(systems.onnx))
    mask = systems.soft_mask(picture, base)
    upright = opened(item.data)

    def both(**options: Any) -> tuple[Levels, Levels, Levels]:
        recipe = Recipe.resolve(base.model_copy(update=options), file=None)
        ours = refine_alone(picture, mask, recipe)
        return ours.mask, ours.pixels, systems.segmentation_custom.remove(upright, **options)

    yield levels_off(mask, systems.segmentation_custom.remove(upright, only_mask=True))
    processed, _, _ = both(post_process_mask=True)
    theirs: Levels
    theirs = systems.segmentation_custom.remove(upright, only_mask=True, post_process_mask=True)
    yield levels_off(processed, theirs)
    _, plain, theirs = both()
    yield levels_off(plain, theirs)
    _, matted, theirs = both(alpha_matting=True)
    yield 100 * float((np.abs(matted.astype(int) - theirs) <= 2).all(axis=2).mean())


def levels_off(ours: Levels, theirs: Levels) -> int:
    """Return the largest difference of two arrays of one shape, in levels of 255."""
    if ours.shape != theirs.shape:
        raise ValueError(f"expected one shape, found {ours.shape} and {theirs.shape}")
    return int(np.abs(ours.astype(int) - theirs).max())


def main(names: list[str]) -> int:
    """Print the table; return 1 if a figure is beyond its bound."""
    chosen = [item for item in photographs() if not names or item.name in names]
    headings = [name.replace(": ", ":\n").replace(", ", ",\n") for name in BOUNDS]
    table = Table(
        "photograph", "pixels", *headings, title="Presets against the originals", box=box.SIMPLE
    )
    worst: dict[str, float] = {}
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        systems = Systems(Path(folder))
        for item in track(chosen, "measuring", console=Console(stderr=True), transient=True):
            width, height = open_image(item.data, max_pixels=10**8).decode().size
            cells = []
            for name, value in figures(item, systems):
                good = BOUNDS[name].holds(value)
                worst[name] = BOUNDS[name].worse(value, worst.get(name, value))
                failures += not good
                cells.append(f"{value:g}" if good else f"[bold red]{value:g} ✗[/]")
            table.add_row(item.name, f"{width}×{height}", *cells)
    table.add_section()
    table.add_row("worst", "", *(f"{value:g}" for value in worst.values()))
    table.add_row("bound", "", *map(str, BOUNDS.values()))
    console = Console(width=170)
    console.print(table)
    console.print(f"{len(chosen)} photographs, {failures} figures beyond their bound")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
