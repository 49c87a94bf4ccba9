"""Images in flight share one memory budget; an image that exceeds all of it is refused."""

import io
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
import tifffile
from numpy.typing import NDArray
from PIL import Image

from benchmarks.peak_memory import peak_memory
from deploy.child import Child
from deploy.local import LocalStack
from producer import Client, Options
from tests.support.cutting import cut_alone
from tests.support.jobs import run
from tests.support.measured import measure
from tests.support.memory_costs import cost
from tests.support.patience import PATIENCE
from tests.support.photographs import photograph
from worker.config.settings import ModelSettings
from worker.errors import ImageTooLarge, SourceTooLarge
from worker.imaging.decode import open_image
from worker.models.files.store import ModelStore
from worker.pipeline.factory import open_models
from worker.pipeline.memory_estimate import estimate_memory
from worker.pipeline.recipe import Recipe
from worker.pipeline.segment import Models

BUDGET = 256 * 2**20
AROUND = 500 * 10**6


@pytest.fixture(scope="module")
def models(store: ModelStore) -> Iterator[Models]:
    models = open_models(ModelSettings.read(), store)
    yield models
    models.cache.close()


@pytest.fixture(scope="module")
def small(stack: LocalStack) -> Iterator[Child]:
    """A worker with a small budget and twelve threads, on a database of its own."""
    child = stack.start_worker(
        concurrency=12,
        CUTWORK_BROKER_URL=stack.broker_url.removesuffix("/0") + "/2",
        CUTWORK_IMAGE_MEMORY=str(BUDGET),
        CUTWORK_MAX_ATTEMPTS="2",
    )
    stack.wait_for_worker(child)
    yield child
    child.stop(grace=5)


@pytest.fixture(scope="module")
def sender(stack: LocalStack) -> Iterator[Client]:
    with Client(stack.broker_url.removesuffix("/0") + "/2") as client:
        yield client


@pytest.fixture(scope="module")
def large(stack: LocalStack) -> str:
    """Store an image of nine megapixels."""
    stack.s3().put_object(Bucket="photos", Key="large.jpg", Body=jpeg(3000))
    return "s3://photos/large.jpg"


def jpeg(side: int) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((side, side), 40).convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("options", "memory"),
    [
        ({"enabled": False}, 8 * 2**20),
        ({"model": "u2netp", "alpha_matting": True}, 64 * 2**20),
    ],
)
def test_an_image_above_the_whole_budget_is_refused_before_it_is_decoded(
    models: Models, options: dict[str, Any], memory: int
) -> None:
    chosen = Options.model_validate(options)
    file = models.store.resolve(chosen.model) if chosen.enabled else None
    # Decoding its pixels would fail with `CorruptImage`.
    cut_short = jpeg(1200)[:20_000]
    with pytest.raises(ImageTooLarge, match=r"seven eighths of CUTWORK_IMAGE_MEMORY.*1200×1200"):
        cut_alone(cut_short, chosen, file=file, models=models, memory=memory)


def test_a_source_above_its_part_of_the_budget_is_refused_before_it_is_read(
    models: Models,
) -> None:
    data = jpeg(300)
    with pytest.raises(SourceTooLarge, match=rf"CUTWORK_IMAGE_MEMORY; found {len(data):,}"):
        cut_alone(data, Options(enabled=False), file=None, models=models, memory=8 * len(data) - 8)


def test_matting_beyond_the_whole_budget_is_refused(models: Models) -> None:
    """A picture of unknown pixels alone needs four times the memory that is assumed."""
    options = Options(model="u2netp", alpha_matting=True, alpha_matting_erode_size=100)
    data = photograph("coffee.png")
    memory = 72 * 2**20 * 8 // 7
    file = models.store.resolve("u2netp")
    with pytest.raises(ImageTooLarge, match=r"unknown pixels of 240,000.*erode_size"):
        cut_alone(data, options, file=file, models=models, memory=memory)


def test_twelve_images_at_once_stay_within_the_budget(
    sender: Client, small: Child, large: str
) -> None:
    """Together they need four times the budget."""
    options = Options(enabled=False)
    assert 12 * cost(options, size=(3000, 3000)) > 4 * BUDGET
    handles = [
        sender.submit(large, mask=f"s3://cutouts/large{n}.png", options=options) for n in range(12)
    ]
    outcomes = [handle.wait(PATIENCE) for handle in handles]
    assert [outcome.state for outcome in outcomes] == ["done"] * 12
    assert peak_memory(small.pid) < BUDGET + AROUND
    # The wait is in the outcome.
    assert max(outcome.seconds["wait"] for outcome in outcomes) > 0.1


def test_a_failed_allocation_fails_the_job_and_not_the_worker(
    sender: Client, small: Child, large: str
) -> None:
    """The operating system refuses the memory, and then grants it again."""
    options = Options(enabled=False)
    status = Path(f"/proc/{small.pid}/statm").read_text()
    size = int(status.split()[0]) * resource.getpagesize()
    unlimited = resource.prlimit(small.pid, resource.RLIMIT_AS)
    resource.prlimit(small.pid, resource.RLIMIT_AS, (size + 24 * 2**20, unlimited[1]))
    place = "s3://cutouts/memory-refused.png"
    try:
        outcome = run(sender, large, mask=place, options=options)
    finally:
        resource.prlimit(small.pid, resource.RLIMIT_AS, unlimited)
    assert (outcome.code, outcome.attempt) == ("memory_exhausted", 2)
    assert "CUTWORK_IMAGE_MEMORY" in (outcome.message or "")
    again = run(sender, large, mask=place, options=options)
    assert (again.state, again.attempt) == ("done", 1)


def test_a_tiff_or_png_read_by_libvips_stays_within_its_estimate() -> None:
    """Strips that are whole planes, interlacing and copies of the file cost the most."""
    row = np.random.default_rng(8).integers(0, 65536, (1, 2000, 4), np.uint16)
    rgba = np.repeat(row, 1200, axis=0)
    planes, half = np.moveaxis(rgba, -1, 0), (rgba / 65535).astype(np.float16)
    alpha = {"extrasamples": ["assocalpha"], "photometric": "rgb", "rowsperstrip": 1200}
    files = [
        tiff(rgba, **alpha),
        tiff(planes, planarconfig="separate", **alpha),
        tiff(np.moveaxis(half, -1, 0), planarconfig="separate", **alpha),
        tiff(half[:, :, :3].astype(np.float32), photometric="rgb"),
        tiff((rgba[:, :, :3] >> 8).astype(np.uint8), photometric="rgb", compression="lzw"),
        pyvips.Image.new_from_array(rgba, interpretation="rgb16").pngsave_buffer(
            interlace=True, compression=1
        ),
    ]
    works = [lambda data=data: decoded_bytes(data) for data in files]
    for number, measured in enumerate(measure(works, warm_up=works[-1])):
        assert measured.peak_bytes < measured.result, number


def tiff(pixels: NDArray[Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.ascontiguousarray(pixels), metadata=None, **options)
    return buffer.getvalue()


def decoded_bytes(data: bytes) -> int:
    """Decode a file with 16 bits, and return the memory estimate for that."""
    image = open_image(data, max_pixels=10**7)
    image.decode(depth=np.uint16)
    return estimate_memory(
        image.header,
        Recipe.resolve(Options(enabled=False, bit_depth=16), file=None),
        input_size=None,
        usual_input_size=(1024, 1024),
    ).decode
