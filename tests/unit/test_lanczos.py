"""The LANCZOS matrix against Pillow's resizing."""

import numpy as np
import pytest
from PIL import Image

from worker.imaging.lanczos import lanczos_weights

SIZES = [(1000, 1024), (1024, 3000), (3000, 1024), (1024, 1024), (7, 3), (3, 7), (1, 9), (9, 1)]


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_each_row_adds_up_to_one(source: int, target: int) -> None:
    matrix = lanczos_weights(source, target)
    assert matrix.shape == (target, source)
    assert matrix.dtype == np.float32
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-5)


def test_the_same_length_changes_nothing() -> None:
    np.testing.assert_allclose(lanczos_weights(64, 64), np.eye(64), atol=1e-7)


@pytest.mark.parametrize("size", [(96, 200), (333, 70), (20, 20), (500, 400), (150, 100), (1, 1)])
def test_two_products_equal_pillow_s_resize(size: tuple[int, int]) -> None:
    """Pillow rounds between the axes, which is one level, and clips, which no level here needs."""
    levels = np.random.default_rng(0).integers(64, 192, (100, 150), dtype=np.uint8)
    width, height = size
    product = (
        lanczos_weights(100, height) @ levels.astype(np.float32) @ lanczos_weights(150, width).T
    )
    resized = np.clip(np.rint(product), 0, 255).astype(np.int16)
    expected = np.asarray(Image.fromarray(levels).resize(size, Image.Resampling.LANCZOS))
    assert resized.shape == expected.shape
    assert np.abs(resized - expected).max() <= 1


def test_two_products_equal_pillow_s_resize_of_floats() -> None:
    """Pillow does not round floats."""
    numbers = np.random.default_rng(0).random((64, 48), dtype=np.float32)
    for width, height in ((100, 90), (30, 90), (20, 20)):
        product = lanczos_weights(64, height) @ numbers @ lanczos_weights(48, width).T
        expected = Image.fromarray(numbers).resize((width, height), Image.Resampling.LANCZOS)
        np.testing.assert_allclose(product, np.asarray(expected), atol=2e-6)
