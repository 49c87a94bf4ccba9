"""An engine on the CPU that has a segmenter, as an engine on a GPU does."""

from collections.abc import Sequence
from dataclasses import replace
from threading import Event

from tests.support.device_models import Picture
from worker.models.engines.onnx.engine import OnnxEngine
from worker.models.engines.segmenter import Conversion, DeviceImage, DeviceMask


class DeviceEngine:
    """An engine that has a segmenter, as an engine on a GPU does, and records its batches."""

    def __init__(self, engine: OnnxEngine) -> None:
        self.facts = replace(engine.facts, device="cuda:0")
        self.max_batch = engine.max_batch
        self.input_size, self.bytes = engine.input_size, engine.bytes
        self.infer, self.close = engine.infer, engine.close
        self.batches: list[int] = []
        self.started, self.go = Event(), Event()
        segmenter = engine.build_segmenter()
        assert segmenter is not None
        self._segmenter = segmenter
        self.segmenter = self

    def upload(self, rgb: Picture, size: tuple[int, int]) -> DeviceImage:
        return self._segmenter.upload(rgb, size)

    def masks(self, images: Sequence[DeviceImage], conversion: Conversion) -> Sequence[DeviceMask]:
        self.batches.append(len(images))
        self.started.set()
        self.go.wait()
        return self._segmenter.masks(images, conversion)
