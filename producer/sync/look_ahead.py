"""Count what a run has yet to send, so that whoever follows it knows how long it takes."""

import redis

from producer.listing.objects import ListingFailed
from producer.sync.feeder import Feeder


def look_ahead(feeder: Feeder) -> None:
    """Go through the rest of the plan beside the feeder, and write down the total it comes to.

    The plan is a stream, so this is the price of knowing its length: a second listing, and no
    memory. Without an answer from S3 or Redis the total stays unknown, which harms nothing.
    """
    ledger, run = feeder.ledger, str(feeder.run)
    try:
        cursor, total = ledger.position(run)
        for step in feeder.plan(cursor):
            if feeder.stopping.is_set():
                return
            total += step.verdict == "send"
        limit = feeder.spec.limit
        ledger.expect(run, total if limit is None else min(total, limit))
    except (ListingFailed, redis.RedisError):
        return
