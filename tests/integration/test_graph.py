"""Prepared graphs of the real models."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from worker.imaging.decode import open_image
from worker.imaging.masks import to_input, to_uint8
from worker.models.engines.onnx.graph import prepare
from worker.models.files.profile import Profile
from worker.models.files.store import ModelStore


@pytest.fixture(params=["isnet-general-use", "u2netp"])
def real(request: pytest.FixtureRequest, store: ModelStore) -> tuple[Path, Profile]:
    """Return real weights and their profile: ISNet with 12 outputs, U²-Net with 7."""
    file = store.resolve(request.param)
    return file.path, file.profile


def pictures(photographs: Path, profile: Profile, *names: str) -> NDArray[np.float32]:
    assert profile.sides
    return np.concatenate(
        [
            to_input(
                to_uint8(
                    open_image((photographs / name).read_bytes(), max_pixels=10**6).decode().rgb
                ),
                size=profile.sides,
                mean=profile.mean,
                std=profile.std,
            )
            for name in names
        ]
    )


def test_the_real_weights_give_the_same_maps_prepared_and_in_a_batch(
    real: tuple[Path, Profile], tmp_path: Path, photographs: Path
) -> None:
    path, profile = real
    prepare(path, tmp_path / "ready.onnx", full_precision=True)
    before = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    after = onnxruntime.InferenceSession(
        str(tmp_path / "ready.onnx"), providers=["CPUExecutionProvider"]
    )
    (name,) = (item.name for item in before.get_inputs())
    batch = pictures(photographs, profile, "chelsea.png", "coffee.png")
    last = batch[1:]
    as_exported = before.run(None, {name: last})[0]
    alone = after.run(None, {name: last})[0]
    together = after.run(None, {name: batch})[0]
    assert np.abs(as_exported - alone).max() < 1 / 255
    assert alone.max() > 0.9
    assert np.abs(together[1:] - alone).max() < 1e-5
    assert np.abs(together[:1] - alone).max() > 0.1
    assert [item.name for item in after.get_outputs()] == [before.get_outputs()[0].name]
