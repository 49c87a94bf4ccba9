"""The metadata of an output object, which workers write and `cutwork sync` reads."""

from collections.abc import Mapping
from typing import Final

FINGERPRINT: Final = "cutwork-fingerprint"
"""The name of the metadata with an output's fingerprint."""
OUTPUT: Final = "cutwork-output"
"""The name of the metadata with the kind of output: `image` or `mask`."""
SOURCE: Final = "cutwork-source"
"""The name of the metadata with the ETag of the source that the output was made of."""


def output_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return metadata with names in lower case.

    They are names of headers, which have no case: many proxies and stores write `Cutwork-Output`.
    """
    return {name.lower(): value for name, value in metadata.items()}
