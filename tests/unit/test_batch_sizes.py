"""Batch sizes and padding."""

import pytest

from worker.models.engines.batch_sizes import batch_sizes, padded_batch_size


@pytest.mark.parametrize(
    ("max_batch", "sizes"),
    [(1, (1,)), (2, (1, 2)), (3, (1, 2, 3)), (4, (1, 2, 4)), (6, (1, 2, 4, 6)), (8, (1, 2, 4, 8))],
)
def test_batch_sizes_are_powers_of_two_and_the_largest(
    max_batch: int, sizes: tuple[int, ...]
) -> None:
    assert batch_sizes(max_batch) == sizes


def test_a_batch_is_padded_to_the_next_batch_size() -> None:
    assert [padded_batch_size(images, 6) for images in range(1, 9)] == [1, 2, 4, 4, 6, 6, 7, 8]
    assert all(
        images <= padded_batch_size(images, max_batch)
        for max_batch in range(1, 65)
        for images in range(1, 65)
    )
    assert all(
        padded_batch_size(images, max_batch) < 2 * images or images == 1
        for max_batch in range(1, 65)
        for images in range(1, 65)
    )
