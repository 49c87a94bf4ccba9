"""A hostile file and its acceptable outcomes."""

from typing import Final, NamedTuple

DONE: Final = frozenset({"done"})
"""For an unusual but valid image."""
CORRUPT: Final = frozenset({"corrupt_image"})
NO_IMAGE: Final = frozenset({"not_an_image"})
REFUSED: Final = CORRUPT | NO_IMAGE
EITHER: Final = REFUSED | DONE
"""For a damaged file, where the decoder decides whether enough is left."""
BOMB: Final = frozenset({"decompression_bomb"})
TOO_LARGE: Final = frozenset({"image_too_large"})
INVALID: Final = frozenset({"model_invalid"})
"""For a model file."""
TOO_BIG: Final = INVALID | {"out_of_memory"}
"""For a model that runs only with more memory than there is."""
UNSUPPORTED: Final = frozenset({"unsupported_image"})
"""For pixels that no reader supports, in a file of a known format."""
MAYBE: Final = EITHER | UNSUPPORTED
"""For an invalid header, where the decoder or the reader of the header decides."""
ANY: Final = EITHER | BOMB | TOO_LARGE | UNSUPPORTED
"""For flipped bits, whose effect is unpredictable."""


class HostileFile(NamedTuple):
    """Content, a key, and the acceptable outcomes: error codes, or `done`."""

    name: str
    data: bytes
    ends: frozenset[str]
