"""The default preset on real weights: every size and depth, clean edges, crop, background.

Where the model does not matter it is U²-Net's small one, which takes a fifth of ISNet's time.
"""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from PIL import Image
from scipy import ndimage

from producer.contract.options import Options
from tests.support.cutting import cut_alone, refine_alone
from tests.support.photographs import photograph
from tests.support.tiny_models import channel_mean, saved, value
from worker.config.settings import ModelSettings
from worker.errors import ImageTooLarge, ModelInvalid, OptionConflict
from worker.imaging.decode import open_image
from worker.imaging.masks import Pixels, bounding_box
from worker.imaging.png import write_png
from worker.models.files.store import ModelStore
from worker.observability.stopwatch import Stopwatch
from worker.pipeline.cutout import CutOut
from worker.pipeline.factory import open_models
from worker.pipeline.recipe import Recipe
from worker.pipeline.segment import Models, load_model, segment


@pytest.fixture(scope="module")
def models(store: ModelStore) -> Iterator[Models]:
    models = open_models(ModelSettings.read(), store)
    yield models
    models.cache.close()


def cut(models: Models, data: bytes, **options: Any) -> CutOut:
    chosen = Options.model_validate({"model": "u2netp"} | options)
    file = models.store.resolve(chosen.model) if chosen.enabled else None
    return cut_alone(data, chosen, file=file, models=models)


def image_of(cut_out: CutOut) -> Image.Image:
    return Image.open(io.BytesIO(cut_out.image_bytes or b""))


def mask_of(cut_out: CutOut) -> Image.Image:
    return Image.open(io.BytesIO(cut_out.mask_bytes or b""))


def png(pixels: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (16, 12), (2500, 900)])
def test_any_size_gives_a_mask_of_that_size(size: tuple[int, int], models: Models) -> None:
    photo = Image.open(io.BytesIO(photograph("chelsea.png"))).resize(size)
    cut_out = cut(models, png(np.asarray(photo)))
    assert image_of(cut_out).size == mask_of(cut_out).size == size


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("fixed", [True, False])
def test_a_custom_model_of_either_layout(
    layout: str, fixed: bool, models: Models, tmp_path: Path
) -> None:
    sides = (64, 64) if fixed else ("h", "w")
    axes = ("n", 3, *sides) if layout == "nchw" else ("n", *sides, 3)
    model = channel_mean(tmp_path / "own.onnx", axes=axes, axis=1 if layout == "nchw" else 3)
    profile = {"size": 64, "mean": 0, "layout": layout, "stretch": False}
    (tmp_path / "own.json").write_text(json.dumps(profile))
    cut_out = cut(models, photograph("chelsea.png"), model=str(model))
    grey = np.asarray(Image.open(io.BytesIO(photograph("chelsea.png")))).mean(axis=2)
    assert np.corrcoef(cut_out.mask.ravel(), grey.ravel())[0, 1] > 0.95
    assert cut_out.warnings == ()


@pytest.mark.parametrize("channels", [3, "c"])
def test_a_preset_that_takes_the_first_of_several_channels_says_so(
    channels: int | str, models: Models, tmp_path: Path
) -> None:
    """The node did so without a word, and rembg does."""
    path = tmp_path / "own.onnx"
    both = ("n", 3, 64, 64)
    saved(
        path,
        [helper.make_node("Identity", ["x"], ["y"])],
        [value("x", both)],
        [value("y", ("n", channels, 64, 64))],
    )
    photo = photograph("chelsea.png")
    for preset in ("default", "isnet-segment"):
        with pytest.raises(ModelInvalid, match=r"say in the profile's `channel`|in `channel`$"):
            cut(models, photo, model=str(path), preset=preset)
    first = cut(models, photo, model=str(path), preset="segmentation-custom", size=64)
    sentence = "its output has 3 channels; the preset segmentation-custom takes channel 0, unless"
    assert any(sentence in warning for warning in first.warnings)
    path.with_suffix(".json").write_text('{"channel": 2}')
    last = cut(models, photo, model=str(path), preset="segmentation-custom", size=64)
    assert not any("channel 0" in warning for warning in last.warnings)
    assert not np.array_equal(first.mask, last.mask)
    path.with_suffix(".json").write_text('{"channel": 0}')
    named = cut(models, photo, model=str(path), preset="segmentation-custom", size=64)
    assert not any("channel 0" in warning for warning in named.warnings)
    np.testing.assert_array_equal(named.mask, first.mask)


def test_logits_instead_of_a_saliency_map_give_a_warning(models: Models, tmp_path: Path) -> None:
    model = channel_mean(tmp_path / "own.onnx", axes=("n", 3, "h", "w"))
    cut_out = cut(models, photograph("chelsea.png"), model=str(model), size=64, mean=3)
    assert cut_out.warnings[0].endswith("a model of logits needs `sigmoid` in its profile")


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        ({"quality": 50}, "quality: png has none"),
        ({"margin": "5%"}, "margin: has no effect without crop"),
        ({"enabled": False, "alpha_matting": True}, "alpha_matting: has no effect with enabled"),
    ],
)
def test_an_option_without_effect_gives_a_warning(
    options: dict[str, Any], warning: str, models: Models
) -> None:
    cut_out = cut(models, photograph("coffee, 48×32"), **options)
    assert cut_out.warnings[0].startswith(warning)


def test_a_disabled_cut_out_still_gets_its_background(models: Models) -> None:
    hidden = np.zeros((20, 30, 4), np.uint8)
    hidden[:, :, 0] = 200
    cut_out = cut(models, png(hidden), enabled=False, background="#0000ff", image_format="jpeg")
    assert np.abs(np.asarray(image_of(cut_out)).astype(int) - (0, 0, 255)).max() < 6


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_flat_image_gives_an_empty_mask(level: int, models: Models) -> None:
    cut_out = cut(models, png(np.full((60, 80, 3), level, np.uint8)), crop=True, alpha_matting=True)
    assert bounding_box(cut_out.mask) is None
    assert cut_out.crop is None
    assert not np.asarray(image_of(cut_out))[:, :, 3].any()
    assert cut_out.warnings[0].startswith("alpha_matting: not done, expected some sure foreground")


def mask_by_isnet(models: Models, data: bytes) -> Pixels:
    """Return the soft mask; the model runs once for each picture."""
    if data not in SEEN:
        picture, watch = open_image(data, max_pixels=10**8).decode(), Stopwatch()
        recipe = Recipe.resolve(Options(), file=models.store.resolve(Options().model))
        with load_model(recipe, models=models, watch=watch) as model:
            SEEN[data] = segment(picture, recipe, model=model, watch=watch)[0]
    return SEEN[data]


SEEN: dict[bytes, Pixels] = {}
BEHIND = {"white": (255, 255, 255), "blue": (25, 50, 230), "green": (0, 200, 25)}


@pytest.mark.parametrize("name", ["astronaut.png", "coffee.png"])
@pytest.mark.parametrize("behind", BEHIND)
def test_soft_edges_show_less_than_half_of_their_original_background(
    name: str, behind: str, models: Models
) -> None:
    """Put a known subject on a known colour, cut it out and put it on a third colour.

    Both cut-outs have the model's alpha, which the colour error takes as given. The whole error
    includes the error of that alpha: it is halved only where the model finds the edge well.
    """
    photo = np.asarray(Image.open(io.BytesIO(photograph(name)))) / 255
    whole = mask_by_isnet(models, photograph(name)) > 127
    labels, _ = ndimage.label(whole)
    subject = labels == np.bincount(labels[whole]).argmax()
    subject = ndimage.binary_erosion(subject, iterations=5)  # Pure colours.
    alpha = ndimage.gaussian_filter(subject.astype(float), 0.8)[:, :, np.newaxis]
    composite = photo * alpha + np.array(BEHIND[behind]) / 255 * (1 - alpha)
    data = png(np.rint(composite * 255).astype(np.uint8))
    picture, mask = open_image(data, max_pixels=10**8).decode(), mask_by_isnet(models, data)
    third = np.array((1.0, 0.1, 0.7))
    colour_errors, whole_errors = [], []
    for estimate in (False, True):
        recipe = Recipe.resolve(Options(estimate_foreground=estimate), file=None)
        refined = refine_alone(picture, mask, recipe)
        rgb, estimated_alpha = refined.pixels[:, :, :3] / 255, refined.pixels[:, :, 3:] / 255
        edge = (
            (alpha > 0.02) & (alpha < 0.98) & (estimated_alpha > 0.02) & (estimated_alpha < 0.98)
        )[:, :, 0]
        pasted = rgb * estimated_alpha + third * (1 - estimated_alpha)
        colour_errors.append(
            np.abs(pasted - photo * estimated_alpha - third * (1 - estimated_alpha))[edge].mean()
        )
        whole_errors.append(np.abs(pasted - photo * alpha - third * (1 - alpha))[edge].mean())
    assert whole_errors[1] < whole_errors[0]
    assert colour_errors[1] < colour_errors[0] / 2
    if behind == "white":
        assert whole_errors[1] < whole_errors[0] / 2


def test_decontamination_keeps_the_model_s_alpha(models: Models) -> None:
    plain = cut(models, photograph("chelsea.png"), estimate_foreground=False)
    clean = cut(models, photograph("chelsea.png"))
    alphas = [np.asarray(image_of(cut_out))[:, :, 3] for cut_out in (plain, clean)]
    assert np.array_equal(alphas[0], alphas[1])
    assert np.array_equal(plain.mask, clean.mask)


def test_the_mask_is_the_cut_out_s_alpha(models: Models) -> None:
    for options in ({}, {"alpha_matting": True}, {"post_process_mask": True}, {"threshold": 0.5}):
        cut_out = cut(models, photograph("chelsea, half transparent"), **options)
        assert np.array_equal(np.asarray(image_of(cut_out))[:, :, 3], np.asarray(mask_of(cut_out)))


def test_sixteen_bits_are_kept_from_source_to_output(models: Models) -> None:
    wide = np.asarray(Image.open(io.BytesIO(photograph("chelsea.png")))).astype(np.uint16) * 257
    wide[::2] -= wide[::2] > 300  # Levels that 8 bits do not have.
    data = write_png(wide, icc_profile=None, dpi=(200, 200))
    for image_format in ("png", "tiff"):
        cut_out = cut(
            models, data, bit_depth=16, image_format=image_format, mask_format=image_format
        )
        back, mask = (
            open_image(written or b"", max_pixels=10**6).decode(depth=np.uint16)
            for written in (cut_out.image_bytes, cut_out.mask_bytes)
        )
        assert back.alpha is not None
        sure = back.alpha > 0.99 * 65535
        assert sure.any()
        assert np.array_equal(back.rgb[sure], wide[sure])
        assert np.array_equal(mask.rgb[:, :, 0], back.alpha)
        assert len(np.unique(mask.rgb)) > 256
        assert np.abs(cut(models, data).mask - back.alpha / 257).max() <= 1


def test_an_opaque_background_needs_no_alpha(models: Models) -> None:
    cut_out = cut(models, photograph("chelsea.png"), background="#10ff20", image_format="jpeg")
    written = image_of(cut_out)
    assert (written.format, written.mode) == ("JPEG", "RGB")
    empty = cut_out.mask == 0
    assert np.abs(np.asarray(written)[empty].astype(int) - (16, 255, 32)).mean() < 4
    half = image_of(cut(models, photograph("chelsea.png"), background="#10ff2080"))
    assert half.mode == "RGBA"
    assert np.asarray(half)[:, :, 3].min() == 128


def test_image_and_mask_have_the_same_crop(models: Models) -> None:
    cut_out = cut(models, photograph("coffee.png"), crop=True, margin="2%")
    assert cut_out.crop is not None
    left, upper, right, lower = cut_out.crop
    assert (left, upper, right, lower) != (0, 0, *cut_out.picture_size)
    assert (
        image_of(cut_out).size
        == mask_of(cut_out).size
        == cut_out.size
        == (right - left, lower - upper)
    )
    assert np.array_equal(np.asarray(mask_of(cut_out)), cut_out.mask[upper:lower, left:right])


def test_a_picture_too_large_to_matte_is_refused(models: Models) -> None:
    large = png(np.zeros((4000, 4000, 3), np.uint8))
    with pytest.raises(ImageTooLarge, match=r"at most 10,000,000 .*CUTWORK_MAX_MATTED_PIXELS"):
        cut(models, large, alpha_matting=True)


@pytest.mark.parametrize("preset", ["default", "isnet-segment", "segmentation-custom"])
def test_a_size_that_the_graph_does_not_accept_is_refused(preset: str, models: Models) -> None:
    """The refusal comes before the image is read."""
    with pytest.raises(OptionConflict, match="takes 320×320 only"):
        cut(models, b"no image at all", preset=preset, size=1024)


def test_profile_and_resolution_are_kept_and_orientation_is_not(models: Models) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    photo = Image.open(io.BytesIO(photograph("rocket.jpg")))
    profile = Image.open(io.BytesIO(photograph("rocket.jpg"))).info.get("icc_profile")
    photo.save(buffer, "JPEG", exif=exif, dpi=(240, 240), icc_profile=profile, comment=b"stale")
    for image_format in ("png", "webp", "avif", "tiff"):
        cut_out = cut(models, buffer.getvalue(), image_format=image_format)
        written = image_of(cut_out)
        assert written.size == (427, 640)
        assert written.info.get("icc_profile") == profile
        tags = written.getexif()
        assert tags.get(0x0112, 1) == 1
        assert not tags.get_ifd(0x8769)
        dpi = written.info.get("dpi") or (tags[282], tags[283])
        assert round(float(dpi[0])) == 240


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_mask_alone_is_made_of_a_smaller_picture(models: Models, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    photo = Image.open(io.BytesIO(photograph("coffee.png"))).resize((2400, 1600))
    photo.save(buffer, "JPEG", quality=95, exif=exif)
    options = Options(model="u2netp")
    file = models.store.resolve(options.model)
    both = cut_alone(buffer.getvalue(), options, file=file, models=models)
    alone = cut_alone(buffer.getvalue(), options, file=file, models=models, want_image=False)
    assert alone.picture_size == ((2400, 1600) if orientation == 1 else (1600, 2400))
    assert alone.mask.shape == both.mask.shape
    off = np.abs(alone.mask.astype(int) - both.mask)
    assert off.mean() < 0.1
    assert off.max() < 16
    small = open_image(buffer.getvalue(), max_pixels=10**8).decode(min_size=(480, 480))
    assert small.rgb.size == 2400 * 1600 * 3 / 4
    assert small.size == alone.picture_size
