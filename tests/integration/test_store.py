"""The model store with the real weights."""

import hashlib
from pathlib import Path

from worker.models.files.catalogue import catalogue


def test_the_real_weights_have_their_hash(isnet_onnx: Path) -> None:
    digest = hashlib.sha256(isnet_onnx.read_bytes()).hexdigest()
    assert digest == catalogue()["isnet-general-use"].sha256
