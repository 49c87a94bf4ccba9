"""One hostile file, and what may become of it."""

from typing import Final, NamedTuple

DONE: Final = frozenset({"done"})
"""It looks odd and is a picture."""
CORRUPT: Final = frozenset({"corrupt_image"})
NO_IMAGE: Final = frozenset({"not_an_image"})
REFUSED: Final = CORRUPT | NO_IMAGE
EITHER: Final = REFUSED | DONE
"""Of a damaged file, when the decoder decides whether enough of it is left."""
BOMB: Final = frozenset({"decompression_bomb"})
TOO_LARGE: Final = frozenset({"image_too_large"})
ANY: Final = EITHER | BOMB | TOO_LARGE | {"unsupported_image"}
"""Of flipped bits, which make anything."""


class HostileFile(NamedTuple):
    """Bytes, a key for them, and the ends that are right: an error code, or `done`."""

    name: str
    data: bytes
    ends: frozenset[str]
