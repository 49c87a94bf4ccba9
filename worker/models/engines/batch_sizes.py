"""The sizes of batches that a GPU is given: few, so that what is searched for each is found."""


def ladder(most: int) -> tuple[int, ...]:
    """1, 2, 4, … and `most` itself: a batch is never padded by as much as it holds."""
    rungs = [1]
    while 2 * rungs[-1] < most:
        rungs.append(2 * rungs[-1])
    return tuple(rungs) if most == 1 else (*rungs, most)


def rung(images: int, most: int) -> int:
    """The smallest size on the ladder that holds so many images; above `most`, as many."""
    return min((size for size in ladder(most) if size >= images), default=images)
