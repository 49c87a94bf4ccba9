"""The models of the catalogue, and the fields of a model's profile."""

import json

from deploy.reference.markdown import code, table
from deploy.reference.settings import accepted
from worker.models.files.catalogue import catalogue
from worker.models.files.profile import Profile


def models() -> str:
    """Return the table of the catalogue."""
    rows = [
        (
            code(name),
            entry.licence + (", must be accepted" if entry.restricted else ""),
            "" if entry.bytes is None else f"{entry.bytes / 1e6:.0f}",
            "×".join(map(str, entry.profile.sides or ())),
            entry.about,
        )
        for name, entry in catalogue().items()
    ]
    return table(("model", "licence", "MB", "input", "description"), rows)


def profile() -> str:
    """Return the table of the fields of `x.json`."""
    rows = (
        (
            code(name),
            field.description or "",
            "none" if field.default is None else code(json.dumps(field.default)),
            accepted(field),
        )
        for name, field in Profile.model_fields.items()
    )
    return table(("field", "meaning", "default", "values"), rows)
