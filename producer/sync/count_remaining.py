"""Count the jobs that a run has yet to send, so that its followers can see the time remaining."""

from contextlib import closing
from itertools import islice
from typing import Final

import redis

from producer.sync.feeder import Feeder
from producer.sync.listing.objects import ListingFailed
from producer.sync.plan.known import mark_known

_CHUNK_STEPS: Final = 1000


def count_remaining(feeder: Feeder) -> None:
    """Read the rest of the plan while the feeder runs, and store the total number of jobs.

    The plan is a stream, so its length costs a second listing, but no memory. The total stays
    unknown when S3 or Redis does not answer, which does no harm, or when the feeder stops.
    """
    ledger, run = feeder.ledger, str(feeder.run)
    try:
        cursor, total = ledger.position(run)
        with closing(feeder.plan(cursor)) as plan:
            while chunk := list(islice(plan, _CHUNK_STEPS)):
                if feeder.stopping.is_set():
                    return
                steps = mark_known(chunk, feeder.spec, ledger.find_unreadable)
                total += sum(step.verdict == "send" for step in steps)
        limit = feeder.spec.limit
        ledger.set_total(run, total if limit is None else min(total, limit))
    except (ListingFailed, redis.RedisError):
        return
