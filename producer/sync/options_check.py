"""Refuse a run before it begins if every one of its jobs would fail."""

from difflib import get_close_matches
from typing import Final

from celery import Celery

from producer.contract.model_names import MODEL_NAMES, MODEL_SUFFIXES
from producer.contract.options import Options
from producer.store.options_check import Refusal, ask_workers

_UNKNOWN: Final = "unknown_model"


class OptionsRefused(ValueError):
    """Every job with the options of a run would fail; the text has the code and the reason."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"{refusal.code}: {refusal.message}; nothing was sent")


def require_accepted(app: Celery, options: Options, tenant: str | None) -> None:
    """Raise `OptionsRefused` if the workers refuse these options, or none of them can be right.

    The workers decide, as they may be of another release. If no worker answers, only the model's
    name is checked. The defaults are not checked. Raises the errors of the broker.
    """
    if options.model_copy(update={"if_exists": "skip"}) == Options():
        return
    answers, refusal = ask_workers(app, options, tenant)
    if refusal is None and answers == 0 and options.enabled:
        refusal = refusal_by_name(options.model)
    if refusal is not None:
        raise OptionsRefused(refusal)


def refusal_by_name(model: str) -> Refusal | None:
    """Return why no worker of this release has a model of this name; None if one may have it."""
    if model in MODEL_NAMES:
        return None
    if model.startswith("s3://"):
        if model.lower().endswith(MODEL_SUFFIXES):
            return None
        expected = ", ".join(MODEL_SUFFIXES)
        return Refusal(
            "model_invalid", f"model: expected a file ending in {expected}, found {model}"
        )
    near = get_close_matches(model, MODEL_NAMES, n=1)
    advice = f"; did you mean {near[0]}?" if near else ""
    return Refusal(
        _UNKNOWN,
        f"model: expected one of {', '.join(MODEL_NAMES)}, or s3://bucket/key, found {model!r}"
        + advice,
    )
