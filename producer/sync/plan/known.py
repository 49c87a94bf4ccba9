"""Steps that are not sent although their plan says so: known failures and misleading names."""

from collections.abc import Callable, Mapping, Sequence

from producer.contract.errors import InvalidJob
from producer.contract.formats import fit_options
from producer.contract.options import Options
from producer.contract.run import RunSpec
from producer.sync.plan.step import Step

FindUnreadable = Callable[[Mapping[str, str]], set[str]]
"""Returns which sources, of a mapping to their ETags, were found unreadable with the same ETag."""


def mark_known(
    steps: Sequence[Step], spec: RunSpec, find_unreadable: FindUnreadable
) -> Sequence[Step]:
    """Return the steps with the verdict `known` where `send` would fail as in an earlier run.

    No source is `known` with --retry-failed or --force. All are looked up in one request. A step is
    `conflicting` if the suffix of an output names another format than the options.
    """
    steps = [_refuse_misleading(step, spec.options) for step in steps]
    if spec.retry_failed or spec.force:
        return steps
    etags = {str(step.source): step.etag for step in steps if step.verdict == "send" and step.etag}
    unreadable = find_unreadable(etags)
    return [
        step._replace(verdict="known")
        if step.verdict == "send" and str(step.source) in unreadable
        else step
        for step in steps
    ]


def _refuse_misleading(step: Step, options: Options) -> Step:
    if step.verdict != "send":
        return step
    try:
        fit_options(options, image=step.image, mask=step.mask)
    except InvalidJob as error:
        return step._replace(verdict="conflicting", reason="name_misleading", message=str(error))
    return step
