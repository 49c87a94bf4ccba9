"""The catalogue's entries against the real models."""

import pytest

from tests.support.tiny_models import loaded
from worker.models.files.catalogue import (
    catalogue,
)
from worker.models.files.store import ModelStore


@pytest.mark.parametrize("name", ["isnet-general-use", "u2netp"])
def test_the_real_graph_fits_its_entry(store: ModelStore, name: str) -> None:
    file = store.resolve(name)
    entry = catalogue()[name]
    assert file.path.stat().st_size == entry.bytes
    assert loaded(file.path, profile=file.profile).input_size == entry.profile.sides
