"""Which directory of a TIFF is its picture: never a thumbnail, a mask or a smaller copy.

Source: TIFF 6.0, NewSubfileType and SubfileType; Adobe's TIFF Technical Note 1, SubIFDs.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from worker.errors import CutworkError
from worker.imaging.readers.several import several_pictures
from worker.imaging.readers.tiff_tags import Directory, Tag, read_directory

_REDUCED, _MASK = 1, 4
"""Bits of NewSubfileType."""
_OLD_REDUCED: Final = 2
"""A value of SubfileType."""
_TRANSPARENCY_MASK: Final = 4
"""A photometric interpretation."""
_MAX_DIRECTORIES: Final = 10_000
_MAX_ENTRIES: Final = 2**18
"""Of all directories together. These take half a second, as do so many directories."""
_VALUE_BYTES: Final = 2**26
"""Values of all directories beyond twice the file, which directories may share."""


class MainPicture(NamedTuple):
    """The picture of a TIFF."""

    tags: Directory
    is_first: bool
    """Whether it is the first directory of the file."""
    warnings: tuple[str, ...]


def find_picture(data: bytes) -> MainPicture:
    """Return the first directory that is neither reduced in size nor a mask.

    It is in the chain of directories, or, if that has thumbnails alone, among the sub-directories
    of one. If all are marked as reduced, the largest is the picture. Directories after a broken
    one, or beyond a limit, are not looked at.

    Raises the errors of `read_directory` for the first one, and for a broken one if no picture
    precedes it.
    """
    walk = _Walk(data)
    pages = [walk.first(), *walk.following()]
    full = list(filter(_is_full, pages))
    if not full:
        full = [tags for page in pages for tags in walk.subdirectories(page) if _is_full(tags)]
    masks = ("transparency mask ignored: the file has it as a page of its own",)
    warnings = masks if any(map(_is_mask, pages)) else ()
    if full:
        more = several_pictures(1, len(full), more=walk.was_stopped)
        return MainPicture(full[0], full[0] is pages[0], (*warnings, *more))
    if walk.error is not None:
        raise walk.error
    largest = max(pages, key=lambda tags: (not _is_mask(tags), tags.pixels))
    if not _is_mask(largest):
        width, height = (largest.number(tag, 0) for tag in (Tag.WIDTH, Tag.HEIGHT))
        reduced = f"thumbnail: the file has only pictures marked as reduced; {width}×{height} taken"
        warnings = (*warnings, reduced)
    return MainPicture(largest, largest is pages[0], warnings)


def _is_mask(tags: Directory) -> bool:
    kind = tags.number(Tag.NEW_SUBFILE_TYPE, 0)
    return bool(kind & _MASK) or tags.number(Tag.PHOTOMETRIC, 0) == _TRANSPARENCY_MASK


def _is_full(tags: Directory) -> bool:
    is_reduced = tags.number(Tag.NEW_SUBFILE_TYPE, 0) & _REDUCED
    is_reduced = is_reduced or tags.number(Tag.SUBFILE_TYPE, 0) == _OLD_REDUCED
    return tags.pixels > 0 and not is_reduced and not _is_mask(tags)


class _Walk:
    """Reads directories, each once, up to limits."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._seen: set[int] = set()
        self._entries, self._value_bytes = 0, 0
        self._next = 0
        self.error: CutworkError | None = None
        """Why the chain ended early, if a directory could not be read."""
        self.was_stopped = False
        """Whether there are more directories than the limits allow to read."""

    def first(self) -> Directory:
        """Return the first directory; raise the errors of `read_directory`."""
        tags = read_directory(self._data)
        self._seen.add(tags.start)
        self._next = tags.next
        return tags

    def following(self) -> Iterator[Directory]:
        """Yield the rest of the chain."""
        while self._next:
            tags = self._read(self._next)
            if tags is None:
                return
            self._next = tags.next
            yield tags

    def subdirectories(self, tags: Directory) -> Iterator[Directory]:
        """Yield those that a directory names."""
        for place in tags.numbers(Tag.SUB_IFDS):
            subdirectory = self._read(int(place))
            if subdirectory is not None:
                yield subdirectory

    def _read(self, place: int) -> Directory | None:
        """Return a directory; None if it was read before, is broken or beyond the limits."""
        if place in self._seen:
            return None
        limit = 2 * len(self._data) + _VALUE_BYTES
        self.was_stopped |= len(self._seen) >= _MAX_DIRECTORIES
        self.was_stopped |= self._entries > _MAX_ENTRIES or self._value_bytes > limit
        if self.was_stopped:
            return None
        self._seen.add(place)
        try:
            tags = read_directory(self._data, place)
        except CutworkError as error:
            self.error = error
            return None
        self._entries += tags.size
        self._value_bytes += tags.value_bytes
        return tags
