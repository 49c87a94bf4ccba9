"""The code points for colour of a HEIC or AVIF: its `colr` boxes of type `nclx`, or its stream.

Source: ISO/IEC 14496-12, 12.1.5, and 23008-12, 6.5.5.
"""

import struct

from worker.imaging.bombs import av1, hevc
from worker.imaging.bombs.heif_picture import (
    Picture,
    first_of_track,
    is_animated,
    primary_picture,
)
from worker.imaging.colour.code_points import CodePoints


def nclx_code_points(data: bytes) -> CodePoints | None:
    """Return what the primary picture states, or of an animation its first track.

    Return None if they state nothing, or if the boxes are broken.
    """
    try:
        if is_animated(data):
            track = first_of_track(data)
            points = None if track is None else _of_boxes(data, track)
            if points is not None:
                return points
        picture = primary_picture(data)
        if picture is None:
            return None
        return _of_boxes(data, picture) or _of_stream(data, picture)
    except (struct.error, IndexError):
        # The decoder refuses such a file, or finds its picture elsewhere.
        return None


def _of_boxes(data: bytes, picture: Picture) -> CodePoints | None:
    spans = ((start, end) for kind, start, end in picture.boxes if kind == b"colr")
    for start, end in spans:
        if end - start >= 8 and data[start : start + 4] == b"nclx":
            return CodePoints(*struct.unpack_from(">HH", data, start + 4))
    return None


def _of_stream(data: bytes, picture: Picture) -> CodePoints | None:
    """Return what a stream says itself; libavif and libheif fall back to it too."""
    points = None
    if picture.first(b"av1C") is not None:
        points = av1.stated_colour(picture.stream)
    elif (configuration := picture.first(b"hvcC")) is not None:
        points = hevc.coded_colour(picture.stream, data[slice(*configuration)])
    return None if points is None else CodePoints(*points)
