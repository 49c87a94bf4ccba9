"""Cancel one job before a worker begins it.

A mark in Redis says that a job must not begin. The script that counts a delivery reads it in the
same step (`scripts/count_delivery.lua`), so a job either begins or is cancelled, never both. The
mark outlives the outcome, because a message may wait in its queue for weeks.
"""

from pathlib import Path
from typing import Any, Final, Literal, get_args

import redis

from producer.contract.job import run_of_job_id
from producer.store.deliveries import cancelled_key, delivery_key
from producer.store.runs import jobs_key, run_key

_EXPIRY_SECONDS: Final = 30 * 86_400
"""How long a job stays cancelled: longer than any message should wait in its queue."""

Cancellation = Literal["cancelled", "begun", "ended", "unknown"]
"""What a cancellation found.

`cancelled`: the job had not begun, and will not. `begun`: a worker runs it; only a further attempt
is prevented. `ended`: it has an outcome already, stored or counted for its run. `unknown`: it is
not pending and has no outcome, as a job of a canvas that was not submitted by a `Client`; if its
message is queued, it will not begin.
"""


class Cancellations:
    """The marks of cancelled jobs in one Redis database. Raises `redis.RedisError`."""

    def __init__(self, server: redis.Redis, *, pending: str, outcome: str) -> None:
        """`pending` is the key of the pending jobs, `outcome` the prefix of outcomes' keys."""
        text = (Path(__file__).parent / "scripts" / "cancel_job.lua").read_text(encoding="utf-8")
        self._cancel = server.register_script(text)
        self._pending, self._outcome = pending, outcome

    def mark(self, job_id: str) -> Cancellation:
        """Mark a job as cancelled unless it has ended; return what was found."""
        keys = [cancelled_key(job_id), delivery_key(job_id), self._pending, self._outcome + job_id]
        run = run_of_job_id(job_id) or ""
        keys += [jobs_key(run), run_key(run)]
        reply: Any = self._cancel(keys=keys, args=[job_id, _EXPIRY_SECONDS])
        (found,) = (item for item in get_args(Cancellation) if item == reply)
        state: Cancellation = found
        return state
