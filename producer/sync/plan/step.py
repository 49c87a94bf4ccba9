"""One step of a plan: an input of a run and what is to happen to it."""

from collections.abc import Callable, Generator
from typing import Final, Literal, NamedTuple

from producer.contract.s3_uri import ImageRef

Verdict = Literal["excluded", "archived", "current", "known", "conflicting", "send"]
"""What happens to an input: the field of `RunCounts` in which it counts, or `send`."""
Exclusion = Literal["folder", "output", "filtered", "not_image", "old"]
"""Why an object is not a source.

`folder`: the empty object of a folder. `output`: an output of this run. `filtered`: by --include
or --exclude. `not_image`: without --all, by its name. `old`: by --since.
"""
EXCLUSION_COUNTS: Final = {"folder": "folders", "not_image": "not_images"}
"""The fields of `RunCounts` that count some exclusions, as parts of `excluded`."""
Resend = Literal["forced", "changed_options"]
"""Why existing outputs do not count: --force or --changed-options."""
Unreadable = Literal["archived"]
"""Why an object is not sent although it is a source: its storage class must be restored first."""
Rejection = Literal["name_conflict", "name_too_long", "name_misplaced", "name_misleading"]
"""Why an input cannot be sent; the error code of its failure."""
Reason = (
    Exclusion
    | Unreadable
    | Resend
    | Rejection
    | Literal["newer", "missing", "older", "replaced", "listed"]
)
"""Why an input has its verdict.

Every `Exclusion` gives the verdict `excluded`, every `Rejection` gives `conflicting`, `archived`
gives `archived`. `newer`: the outputs exist and are newer, so they are `current`. The others give
`send`: an output is `missing`, is `older` or was made of an object that was `replaced`, a `Resend`,
or a manifest has `listed` the input.
"""


class Step(NamedTuple):
    """An input of a run, with a verdict. A plan has exactly one step per input."""

    cursor: str
    """The position of the plan after this step: the source's key, or the number of its line."""
    verdict: Verdict
    reason: Reason
    source: ImageRef | None = None
    """The image. It and the fields below have values only if the verdict is not `excluded`,
    `archived` or `current`, or if the step is doubtful."""
    etag: str = ""
    """The ETag of the source; empty if a manifest names it."""
    bytes: int | None = None
    """The size of the source; None if a manifest names it."""
    image: ImageRef | None = None
    """The destination of the cut-out; None if none is wanted, or if the key is too long."""
    mask: ImageRef | None = None
    """The destination of the mask; None for the same reasons."""
    message: str = ""
    """What is wrong with a conflicting input, and what to do."""
    is_doubtful: bool = False
    """Whether dates cannot decide, so that the source's ETag must; see `check_sources`."""


Plan = Callable[[str], Generator[Step, None, None]]
"""Returns the steps of all inputs after a cursor, in order; `""` is the beginning."""
