"""The corpus of hostile model files."""

from collections.abc import Sequence
from functools import cache

from tests.support.hostile import checkpoints, onnx_graphs
from tests.support.hostile.file import HostileFile


@cache
def hostile_models() -> Sequence[HostileFile]:
    """Return every hostile model; a name's suffix is that of the file it must have."""
    files = (*onnx_graphs.attacks(), *checkpoints.attacks())
    assert len({file.name for file in files}) == len(files)
    return files
