"""The size of a run's window."""

import pytest

from producer.sync.window import Window


@pytest.mark.parametrize(
    ("size", "in_flight", "room"),
    [
        (1, 0, 1),
        (1, 1, 0),
        (100, 0, 100),
        (100, 75, 25),
        (100, 76, 0),
        (100, 120, 0),
        (2000, 1500, 500),
        (2000, 1501, 0),
        (9000, 0, 500),
    ],
)
def test_the_room_is_a_large_part_of_a_batch_or_zero(size: int, in_flight: int, room: int) -> None:
    window = Window(size)
    assert window.room(in_flight, is_queue_empty=lambda: True) == room


def test_a_window_without_a_size_doubles_while_workers_run_idle() -> None:
    window = Window(None)
    assert window.room(2000, is_queue_empty=lambda: False) == 0
    assert window.room(1000, is_queue_empty=lambda: True) == 500
    assert window.room(2000, is_queue_empty=lambda: True) == 500
    assert window.room(4000, is_queue_empty=lambda: False) == 0
    for _ in range(9):
        window.room(63_999, is_queue_empty=lambda: True)
    assert window.room(64_000, is_queue_empty=lambda: True) == 0
