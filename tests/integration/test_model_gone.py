"""Model files deleted or damaged under a process that uses them."""

import hashlib
import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from producer.contract.options import Options
from tests.support.site import Site, running_site
from tests.support.tiny_models import channel_mean
from worker.config.settings import ModelSettings
from worker.errors import ModelUnavailable
from worker.imaging.decode import open_image
from worker.models.files.catalogue import CatalogueEntry, HttpsSource
from worker.models.files.profile import Profile
from worker.models.files.store import ModelStore
from worker.observability.stopwatch import Stopwatch
from worker.pipeline.factory import open_file_cache, open_models
from worker.pipeline.recipe import Recipe
from worker.pipeline.segment import Models, load_model, segment


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running_site() as site:
        path = channel_mean(tmp_path / "own.onnx", axes=(1, 3, 32, 32))
        site.files = {"/own.onnx": path.read_bytes()}
        yield site


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def models(site: Site, folder: Path) -> Iterator[Models]:
    entry = CatalogueEntry(
        file="own.onnx",
        sha256=hashlib.sha256(site.files["/own.onnx"]).hexdigest(),
        licence="MIT",
        about="",
        profile=Profile(size=32, mean=0, stretch=False),
        sources=(HttpsSource(kind="https", url=f"{site.url}/own.onnx"),),
    )
    settings = ModelSettings.read(model_cache=folder)
    models = open_models(settings, ModelStore(open_file_cache(settings), entries={"own": entry}))
    yield models
    models.cache.close()


def mask_of(models: Models) -> float:
    """Make a mask as a job does, and return its mean."""
    buffer = io.BytesIO()
    Image.new("RGB", (20, 10), (255, 255, 255)).save(buffer, "PNG")
    picture = open_image(buffer.getvalue(), max_pixels=1000).decode()
    recipe, watch = Recipe.resolve(Options(model="own"), file=models.find("own")), Stopwatch()
    with load_model(recipe, models=models, watch=watch) as model:
        return float(np.mean(segment(picture, recipe, model=model, watch=watch)[0]))


def test_a_loaded_model_runs_on_without_its_file(models: Models, site: Site, folder: Path) -> None:
    first = mask_of(models)
    assert first == 255
    for path in folder.rglob("*.onnx"):
        path.write_bytes(b"\0" * 10)
    assert mask_of(models) == first
    shutil.rmtree(folder)
    assert mask_of(models) == first
    assert site.paths == ["/own.onnx"]


@pytest.mark.parametrize("damage", ["deleted", "cut short", "overwritten"])
def test_the_next_load_fetches_it_again(
    damage: str, models: Models, site: Site, folder: Path
) -> None:
    first = mask_of(models)
    models.cache.free_memory("cpu")
    paths = list(folder.rglob("*.onnx"))
    assert len(paths) == 2  # The file and its prepared graph.
    for path in paths:
        if damage == "deleted":
            path.unlink()
        else:
            whole = path.read_bytes()
            path.write_bytes(whole[:-5] if damage == "cut short" else whole[::-1])
    assert mask_of(models) == first
    assert site.paths == ["/own.onnx", "/own.onnx"]


def test_without_a_source_the_next_load_is_a_transient_error(
    models: Models, site: Site, folder: Path
) -> None:
    first = mask_of(models)
    models.cache.free_memory("cpu")
    shutil.rmtree(folder)
    data = site.files.pop("/own.onnx")
    with pytest.raises(ModelUnavailable, match="could not be fetched"):
        mask_of(models)
    site.files["/own.onnx"] = data
    assert mask_of(models) == first
