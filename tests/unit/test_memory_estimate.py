"""The memory estimate of an image, from its header and the options."""

import pyvips

from producer import Options
from tests.support.memory_costs import cost, header
from worker.imaging.libvips import MAX_THREADS
from worker.pipeline.memory_estimate import estimate_memory
from worker.pipeline.recipe import Recipe


def test_the_options_decide_how_much_memory_an_image_needs() -> None:
    plain = cost(Options(enabled=False))
    default = cost(Options())
    assert plain < default < cost(Options(alpha_matting=True))
    assert cost(Options(preset="segmentation-custom", estimate_foreground=True)) > 1.5 * default
    assert cost(Options(bit_depth=16), bits=16, pixel_bytes=6, format="PNG") > plain
    assert cost(Options(enabled=False, image_format="avif")) > plain
    # Twice the pixels need twice the memory, except for the part that is the same for all images.
    assert 1.9 < cost(Options(enabled=False), size=(10_000, 4000)) / plain < 2


def test_a_larger_input_than_the_model_s_own_counts() -> None:
    def peak(side: int) -> int:
        return estimate_memory(
            header(size=(100, 100)),
            Recipe.resolve(Options(), file=None),
            input_size=(side, side),
            usual_input_size=(1024, 1024),
        ).peak

    assert peak(4096) > 9e9
    assert peak(1024) < 2e8


def test_libvips_uses_few_threads_so_that_its_memory_does_not_depend_on_the_machine() -> None:
    assert pyvips.concurrency_get() <= MAX_THREADS
