"""The memory estimate of an image, from its header and the options."""

from typing import Any

from producer import Options
from worker.imaging.decode import Header
from worker.pipeline.memory_estimate import estimate_memory


def header(**facts: Any) -> Header:
    known: dict[str, Any] = {"format": "JPEG", "mode": "RGB", "size": (5000, 4000)}
    return Header(**{"transparent": False, "sixteen": False} | known | facts)


def cost(options: Options, **facts: Any) -> int:
    return estimate_memory(
        header(**facts),
        options,
        fed=(1024, 1024) if options.enabled else None,
        usual=(1024, 1024),
        want_image=True,
        want_mask=True,
    ).most


def test_what_is_asked_for_decides_what_an_image_takes() -> None:
    plain = cost(Options(enabled=False))
    default = cost(Options())
    assert plain < default < cost(Options(alpha_matting=True))
    assert cost(Options(preset="segmentation-custom", estimate_foreground=True)) > 1.5 * default
    assert cost(Options(bit_depth=16), sixteen=True, format="PNG") > plain
    assert cost(Options(enabled=False, image_format="avif")) > plain
    # Twice the pixels, twice the memory, but for what is the same for every image.
    assert 1.9 < cost(Options(enabled=False), size=(10_000, 4000)) / plain < 2


def test_a_larger_input_than_the_model_s_own_counts() -> None:
    def fed(side: int) -> int:
        sides = {"fed": (side, side), "usual": (1024, 1024)}
        wanted = {"want_image": True, "want_mask": True}
        return estimate_memory(header(size=(100, 100)), Options(), **sides, **wanted).most  # type: ignore[arg-type]  # mixed

    assert fed(4096) > 9e9
    assert fed(1024) < 2e8
