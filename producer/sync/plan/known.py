"""The verdict `known`: sources that an earlier run found unreadable are not sent again."""

from collections.abc import Callable, Mapping, Sequence

from producer.contract.run import RunSpec
from producer.sync.plan.step import Step

FindUnreadable = Callable[[Mapping[str, str]], set[str]]
"""Returns which sources, of a mapping to their ETags, were found unreadable with the same ETag."""


def mark_known(
    steps: Sequence[Step], spec: RunSpec, find_unreadable: FindUnreadable
) -> Sequence[Step]:
    """Return the steps with the verdict `known` where `send` would fail as in an earlier run.

    Nothing is marked with --retry-failed or --force. All sources are looked up in one request.
    """
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
