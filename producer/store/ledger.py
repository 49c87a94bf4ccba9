"""Pending jobs and their outcomes in Redis, written by producers and workers.

A job is pending from its submission until its outcome is stored, and its text is stored for as
long: recovery sends a pending job that has no message again (producer/store/recovery.py). An
outcome is a Redis stream of one entry: a reader waits for it and reads it with the same `XREAD`, so
any number of readers can wait and none can miss it. Celery's result backend would need a
subscription per job.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final, Literal

import redis
from redis.exceptions import ClusterError

from producer.contract.job import Job, run_of_job_id
from producer.contract.outcome import Outcome, UnreadableOutcome, cancelled_outcome
from producer.contract.untrusted_text import shorten
from producer.store.cancellation import Cancellation, Cancellations
from producer.store.deadline import open_redis
from producer.store.deliveries import Deliveries, cancelled_key, delivery_key
from producer.store.runs import RunLedger, jobs_key, run_key
from producer.store.signed_jobs import decode_jobs, encode_job
from producer.store.throughput import ThroughputStore
from producer.store.unreadable_run import DecodingError, describe

_PENDING: Final = "cutwork:pending"
"""A sorted set: job ids by the server time at which each was last known to have a message."""
_MESSAGES: Final = "cutwork:pending:jobs"
_OUTCOME: Final = "cutwork:outcome:"
_FIELD: Final = "json"
_CHUNK: Final = 500
"""Jobs named in one command."""
_LONGEST_OUTCOME: Final = 32 * 2**20
"""Characters of a stored outcome. Workers write thousands; old ones wrote up to twenty million."""


class Ledger:
    """The ledger in one Redis database. Thread-safe.

    Every method raises `redis.RedisError` when the server stays unreachable through the retries.
    """

    def __init__(
        self,
        url: str,
        *,
        outcome_ttl: int = 86_400,
        timeout: float = 10,
        retries: int = 4,
        signed: bool = False,
    ) -> None:
        """Prepare a ledger; the first command connects.

        `outcome_ttl`: seconds for which an outcome is stored. `timeout`: seconds without a reply
        after which a connection is closed, as a network can drop a connection silently; no command
        of the ledger takes a tenth of that. `retries`: how often a command is retried, within some
        seconds. `signed`: jobs are stored with a signature, and unsigned ones are refused.
        """
        self._outcome_ttl = outcome_ttl
        self._signed = signed
        self.redis = open_redis(
            url,
            timeout=timeout,
            retries=retries,
            decode_responses=True,
            # Decode leniently: other programs may have written these bytes.
            encoding_errors="backslashreplace",
        )
        self.runs = RunLedger(self.redis, signed=signed)
        self.deliveries = Deliveries(self.redis)
        self._cancellations = Cancellations(self.redis, pending=_PENDING, outcome=_OUTCOME)
        self.throughput = ThroughputStore(self.redis)

    def add_pending(self, *jobs: Job) -> None:
        """Store jobs as pending, and delete the outcomes of earlier jobs with the same ids."""
        now = self.now()
        with self.redis.pipeline(transaction=True) as pipe:
            pipe.zadd(_PENDING, {job.id: now for job in jobs})
            pipe.hset(
                _MESSAGES, mapping={job.id: encode_job(job, signed=self._signed) for job in jobs}
            )
            pipe.delete(*(_OUTCOME + job.id for job in jobs))
            pipe.delete(*(cancelled_key(job.id) for job in jobs))
            pipe.execute()

    def discard_pending(self, *jobs: Job) -> None:
        """Delete pending jobs that were never sent."""
        ids = [job.id for job in jobs]
        with self.redis.pipeline(transaction=True) as pipe:
            pipe.zrem(_PENDING, *ids)
            pipe.hdel(_MESSAGES, *ids)
            pipe.execute()

    def now(self) -> float:
        """Return the server's Unix time in seconds: the clock that producers and workers share."""
        seconds, microseconds = self.redis.time()
        return float(seconds) + float(microseconds) / 1e6

    def pending_ids(self, *, before: float, limit: int) -> list[str]:
        """Return ids of single jobs last known to have a message by `before`, oldest first."""
        job_ids: Any = self.redis.zrangebyscore(_PENDING, 0, before, start=0, num=limit)
        return list(job_ids)

    def pending_jobs(self, job_ids: Sequence[str]) -> list[Job]:
        """Return those of the jobs that are pending and readable; see `decode_jobs`."""
        if not job_ids:
            return []
        texts: Any = self.redis.hmget(_MESSAGES, job_ids)
        pairs = zip(job_ids, texts, strict=True)
        # An older release stored no text.
        stored = {job_id: text for job_id, text in pairs if text is not None}
        return list(decode_jobs(stored, signed=self._signed).values())

    def touch_pending(self, job_ids: Sequence[str]) -> None:
        """Record that these jobs have a message now, except those that have got an outcome."""
        now = self.now()
        for start in range(0, len(job_ids), _CHUNK):
            chunk = job_ids[start : start + _CHUNK]
            self.redis.zadd(_PENDING, dict.fromkeys(chunk, now), xx=True)

    def record_outcome(self, outcome: Outcome) -> None:
        """Store an outcome and end its job, atomically; count it if the job belongs to a run."""
        if run_of_job_id(outcome.job_id):
            self.runs.record_outcome(outcome)
            return
        key = _OUTCOME + outcome.job_id
        # A redelivered job finds its own outputs or a cancellation; the first outcome is the one
        # that its producer has seen.
        is_repeated = outcome.state in ("skipped", "cancelled") and self.redis.exists(key)
        with self.redis.pipeline(transaction=True) as pipe:
            if not is_repeated:
                pipe.delete(key)
                pipe.xadd(key, {_FIELD: outcome.model_dump_json(exclude_none=True)})
                pipe.expire(key, self._outcome_ttl)
            pipe.zrem(_PENDING, outcome.job_id)
            pipe.hdel(_MESSAGES, outcome.job_id)
            pipe.delete(delivery_key(outcome.job_id))
            pipe.execute()

    def cancel(self, job_id: str, *, reason: str) -> Cancellation:
        """Prevent a job from beginning, and store the outcome `cancelled` if it had not begun.

        `reason` says who cancelled it, and becomes the outcome's message. Should this process end
        between the two steps, the worker that receives the message stores the outcome.
        """
        found = self._cancellations.mark(job_id)
        if found == "cancelled":
            self.record_outcome(cancelled_outcome(job_id, reason))
        return found

    def read_outcomes(self, job_ids: Collection[str], *, wait: float = 0) -> dict[str, Outcome]:
        """Return the stored outcomes of `job_ids`; wait up to `wait` seconds for the first one.

        Raises `UnreadableOutcome` if a stored value is not an outcome.
        """
        if not job_ids:
            return {}
        streams: dict[Any, Any] = {_OUTCOME + job_id: "0-0" for job_id in job_ids}
        block = max(1, round(wait * 1000)) if wait > 0 else None
        try:
            reply: Any = self.redis.xread(streams, count=1, block=block)
        except redis.ResponseError as error:
            raise _unreadable(", ".join(job_ids), error) from error
        # A list of pairs in RESP2, a mapping to lists in RESP3.
        pairs = reply.items() if isinstance(reply, dict) else reply or []
        outcomes = {}
        for key, entries in pairs:
            while entries and isinstance(entries[0], list):
                entries = entries[0]
            job_id = key.removeprefix(_OUTCOME)
            try:
                outcomes[job_id] = _decode_outcome(job_id, entries[0][1][_FIELD])
            except (KeyError, ValueError) as error:
                raise _unreadable(job_id, error) from error
        return outcomes

    def job_state(self, job_id: str) -> Literal["pending", "ended", "unknown"]:
        """Return whether a job is pending, has an outcome, or is neither.

        The outcome of a job of a run is not stored by itself: once it is no longer in flight it
        counts as ended while the record of the run exists.
        """
        run = run_of_job_id(job_id) or ""
        with self.redis.pipeline(transaction=True) as pipe:
            pipe.exists(_OUTCOME + job_id)
            pipe.hexists(_MESSAGES, job_id)
            pipe.hexists(jobs_key(run), job_id)
            pipe.exists(run_key(run))
            has_outcome, is_single, is_in_flight, has_run = pipe.execute(raise_on_error=False)
        if has_outcome == 1:
            return "ended"
        if is_single is True or is_in_flight is True:
            return "pending"
        return "ended" if has_run == 1 else "unknown"

    def count_pending(self) -> int:
        """Return how many jobs, single ones and those of runs, are pending."""
        return int(self.redis.zcard(_PENDING)) + self.runs.count_pending()

    def server_facts(self) -> tuple[str, str]:
        """Return the server's version and its eviction policy; refuse Redis Cluster."""
        facts: Any = self.redis.info("server") | self.redis.info("memory")
        if "cluster" in (facts.get("redis_mode"), facts.get("server_mode")):
            raise ClusterError("the server is in cluster mode")
        version = facts.get("valkey_version") or facts["redis_version"]
        return str(version), str(facts.get("maxmemory_policy", "unknown"))

    def close(self) -> None:
        """Close the connections."""
        self.redis.close()


def _decode_outcome(job_id: str, text: str) -> Outcome:
    """Return the outcome in a text; raise `ValueError` if it is not one of this job."""
    if len(text) > _LONGEST_OUTCOME:
        raise ValueError(f"expected at most {_LONGEST_OUTCOME:,} characters, found {len(text):,}")
    outcome = Outcome.model_validate_json(text)
    if outcome.job_id != job_id:
        raise ValueError(f"job_id: expected {job_id}, found {shorten(outcome.job_id, 120)!r}")
    return outcome


def _unreadable(job_id: str, error: DecodingError) -> UnreadableOutcome:
    return UnreadableOutcome(
        f"job {job_id}: expected an outcome as a worker writes it ({describe(error)}); submit it "
        "again, and let no other program write to the broker's database"
    )
