"""Sizes of batches."""

import pytest

from worker.models.engines.batch_sizes import ladder, rung


@pytest.mark.parametrize(
    ("most", "rungs"),
    [(1, (1,)), (2, (1, 2)), (3, (1, 2, 3)), (4, (1, 2, 4)), (6, (1, 2, 4, 6)), (8, (1, 2, 4, 8))],
)
def test_the_ladder_ends_where_it_is_told(most: int, rungs: tuple[int, ...]) -> None:
    assert ladder(most) == rungs


def test_a_batch_is_padded_to_the_next_rung() -> None:
    assert [rung(images, 6) for images in range(1, 9)] == [1, 2, 4, 4, 6, 6, 7, 8]
    assert all(images <= rung(images, most) for most in range(1, 65) for images in range(1, 65))
    assert all(
        rung(images, most) < 2 * images or images == 1
        for most in range(1, 65)
        for images in range(1, 65)
    )
