"""Count what a run has yet to send, so that whoever follows it knows how long it takes."""

from contextlib import closing
from itertools import islice
from typing import Final

import redis

from producer.sync.feeder import Feeder
from producer.sync.listing.objects import ListingFailed
from producer.sync.plan.known import mark_known

_CHUNK_STEPS: Final = 1000


def count_remaining(feeder: Feeder) -> None:
    """Go through the rest of the plan beside the feeder, and write down the total it comes to.

    The plan is a stream, so this is the price of knowing its length: a second listing, and no
    memory. Without an answer from S3 or Redis the total stays unknown, which harms nothing.
    """
    ledger, run = feeder.ledger, str(feeder.run)
    try:
        cursor, total = ledger.position(run)
        with closing(feeder.plan(cursor)) as steps:
            while chunk := list(islice(steps, _CHUNK_STEPS)):
                if feeder.stopping.is_set():
                    return
                steps_left = mark_known(chunk, feeder.spec, ledger.find_unreadable)
                total += sum(step.verdict == "send" for step in steps_left)
        limit = feeder.spec.limit
        ledger.set_total(run, total if limit is None else min(total, limit))
    except (ListingFailed, redis.RedisError):
        return
