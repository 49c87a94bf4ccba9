"""The fingerprint of an output: a hash of everything that decides its bytes."""

import hashlib
import json
from typing import Final

from worker.pipeline.recipe import Recipe

PIPELINE_VERSION: Final = 5
"""Part of every fingerprint; raised when the same input would give other bytes."""

_NOT_IN_FINGERPRINT: Final = {"model", "model_sha256", "device_mode", "if_exists"}
"""The model counts with its hash and profile; the other options must not change what is written
(half precision on a GPU changes a mask by less than a level). Default values do not count either:
an option that a later version adds must not make all stored outputs look outdated."""


def fingerprint(etag: str, recipe: Recipe) -> str:
    """Return the SHA-256 over everything that decides the bytes of the outputs.

    `etag` is the source's. A mask without a cut-out may be made of a picture that was decoded
    smaller; then its fingerprint differs from that of a mask with a cut-out.
    """
    file = recipe.file
    facts = {
        "source": etag,
        "model": file and {"sha256": file.sha256, "profile": file.profile.facts()},
        "options": recipe.options.model_dump(
            mode="json", exclude=_NOT_IN_FINGERPRINT, exclude_defaults=True
        ),
        "pipeline": PIPELINE_VERSION,
    }
    if recipe.can_shrink:
        facts["smaller"] = True
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
