"""An engine on the CPU that takes pictures as one on a GPU does."""

from collections.abc import Sequence
from dataclasses import replace
from threading import Event

from tests.support.device_models import Picture
from worker.models.engines.on_device import Reading, Seen, Uploaded
from worker.models.engines.onnx.engine import OnnxEngine


class DeviceEngine:
    """An engine that takes pictures, as one on a GPU does; records its batches."""

    def __init__(self, engine: OnnxEngine) -> None:
        self.facts = replace(engine.facts, device="cuda:0")
        self.most = engine.most
        self.input_size, self.bytes = engine.input_size, engine.bytes
        self.infer, self.close = engine.infer, engine.close
        self.batches: list[int] = []
        self.started, self.go = Event(), Event()
        found = engine.on_pictures()
        assert found is not None
        self._pictures = found
        self.pictures = self

    def upload(self, rgb: Picture, size: tuple[int, int]) -> Uploaded:
        return self._pictures.upload(rgb, size)

    def masks(self, pictures: Sequence[Uploaded], reading: Reading) -> Sequence[Seen]:
        self.batches.append(len(pictures))
        self.started.set()
        self.go.wait()
        return self._pictures.masks(pictures, reading)
