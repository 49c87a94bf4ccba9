"""Pending jobs and their outcomes, in Redis; producers and workers both write here.

A job is pending from submit until its outcome is stored, and its message is kept as long: a pending
job that is no longer in any queue is sent again (producer/store/recovery.py). An outcome is a Redis
stream of one entry: a reader waits for it and reads it with the same `XREAD`, so any number of
readers can wait and none can miss it. Celery's result backend would need a subscription per job.
"""

import logging
from collections.abc import Collection, Sequence
from typing import Any, Final

import redis
from pydantic import ValidationError
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from producer.contract.job import InvalidJob, Job, run_of_job_id
from producer.contract.outcome import Outcome, UnreadableOutcome
from producer.contract.validation_errors import explain
from producer.store.deliveries import Deliveries, delivery_key
from producer.store.runs import RunLedger
from producer.store.signed_jobs import decode_job, encode_job
from producer.store.throughput import ThroughputStore
from producer.store.unreadable import is_of_another_type

log = logging.getLogger(__name__)

_PENDING: Final = "cutwork:pending"
"""Job ids by the server's time at which each was last known to have a message."""
_MESSAGES: Final = "cutwork:pending:jobs"
_OUTCOME: Final = "cutwork:outcome:"
_FIELD: Final = "json"
_AT_ONCE: Final = 500
"""Jobs named in one command."""


class Ledger:
    """The ledger in one Redis database; safe to share between threads.

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
        """`outcome_ttl`: seconds an outcome is kept; `timeout`, `retries`: of `connect`.

        `signed`: jobs are kept with a signature, and none is read without.
        """
        self._outcome_ttl = outcome_ttl
        self._signed = signed
        self.redis = connect(url, timeout=timeout, retries=retries)
        self.runs = RunLedger(self.redis, signed=signed)
        self.deliveries = Deliveries(self.redis)
        self.throughput = ThroughputStore(self.redis)

    def add_pending(self, *jobs: Job) -> None:
        """Write the jobs down as pending and forget outcomes of earlier runs of the same ids."""
        now = self.now()
        with self.redis.pipeline(transaction=True) as pipe:
            pipe.zadd(_PENDING, {job.id: now for job in jobs})
            pipe.hset(
                _MESSAGES, mapping={job.id: encode_job(job, signed=self._signed) for job in jobs}
            )
            pipe.delete(*(_OUTCOME + job.id for job in jobs))
            pipe.execute()

    def discard_pending(self, *jobs: Job) -> None:
        """Take back jobs that were never sent."""
        ids = [job.id for job in jobs]
        with self.redis.pipeline(transaction=True) as pipe:
            pipe.zrem(_PENDING, *ids)
            pipe.hdel(_MESSAGES, *ids)
            pipe.execute()

    def now(self) -> float:
        """The server's time, in Unix seconds: the one clock that producers and workers share."""
        seconds, microseconds = self.redis.time()
        return float(seconds) + float(microseconds) / 1e6

    def pending_ids(self, *, before: float, limit: int) -> list[str]:
        """Ids of single jobs last known to have a message before that time, the oldest first."""
        found: Any = self.redis.zrangebyscore(_PENDING, 0, before, start=0, num=limit)
        return list(found)

    def pending_jobs(self, job_ids: Sequence[str]) -> list[Job]:
        """Those of the jobs that are pending and can be read.

        Left out is what another release wrote, or no producer, or what is not signed and should be.
        """
        if not job_ids:
            return []
        texts: Any = self.redis.hmget(_MESSAGES, job_ids)
        jobs = (self._job(name, text) for name, text in zip(job_ids, texts, strict=True))
        return [job for job in jobs if job]

    def _job(self, name: str, text: str | None) -> Job | None:
        if text is None:
            return None  # Sent by an older release, which kept no text.
        try:
            return decode_job(text, name=name, signed=self._signed)
        except InvalidJob as error:
            log.warning("job %s cannot be sent again: %s", name, error)
            return None

    def touch_pending(self, job_ids: Sequence[str]) -> None:
        """Write down that these have a message now; those answered meanwhile stay answered."""
        now = self.now()
        for start in range(0, len(job_ids), _AT_ONCE):
            some = job_ids[start : start + _AT_ONCE]
            self.redis.zadd(_PENDING, dict.fromkeys(some, now), xx=True)

    def record_outcome(self, outcome: Outcome) -> None:
        """Store an outcome and end its job's pending, both or neither; a run's is counted."""
        if run_of_job_id(outcome.job_id):
            self.runs.record_outcome(outcome)
            return
        key = _OUTCOME + outcome.job_id
        if outcome.state == "skipped" and self.redis.exists(key):
            # A redelivered job finds its own outputs: the outcome that made them says more.
            with self.redis.pipeline(transaction=True) as pipe:
                _end(pipe, outcome.job_id)
                pipe.execute()
            return
        with self.redis.pipeline(transaction=True) as pipe:
            pipe.delete(key)
            pipe.xadd(key, {_FIELD: outcome.model_dump_json(exclude_none=True)})
            pipe.expire(key, self._outcome_ttl)
            _end(pipe, outcome.job_id)
            pipe.execute()

    def read_outcomes(self, job_ids: Collection[str], *, wait: float = 0) -> dict[str, Outcome]:
        """The outcomes there are among `job_ids`; waits up to `wait` seconds for the first.

        Raises `UnreadableOutcome` when one of them is none.
        """
        if not job_ids:
            return {}
        streams: dict[Any, Any] = {_OUTCOME + job_id: "0-0" for job_id in job_ids}
        block = max(1, round(wait * 1000)) if wait > 0 else None
        try:
            found: Any = self.redis.xread(streams, count=1, block=block)
        except redis.ResponseError as error:
            if not is_of_another_type(error):
                raise
            raise _unreadable(", ".join(job_ids), str(error)) from error
        # A list of pairs in RESP2, a mapping to lists in RESP3.
        pairs = found.items() if isinstance(found, dict) else found or []
        result = {}
        for key, entries in pairs:
            while entries and isinstance(entries[0], list):
                entries = entries[0]
            job_id = key.removeprefix(_OUTCOME)
            try:
                result[job_id] = Outcome.model_validate_json(entries[0][1][_FIELD])
            except ValidationError as error:
                raise _unreadable(job_id, explain(error)) from error
            except KeyError as error:
                raise _unreadable(job_id, f"found no field {error}") from error
        return result

    def count_pending(self) -> int:
        """How many jobs have been submitted and have no outcome yet."""
        return int(self.redis.zcard(_PENDING)) + self.runs.count_pending()

    def server_facts(self) -> tuple[str, str]:
        """The server's version, and what it does when its memory is full."""
        facts: Any = self.redis.info("server") | self.redis.info("memory")
        version = facts.get("valkey_version") or facts["redis_version"]
        return str(version), str(facts.get("maxmemory_policy", "unknown"))

    def close(self) -> None:
        """Close the connections."""
        self.redis.close()


def _unreadable(job_id: str, reason: str) -> UnreadableOutcome:
    return UnreadableOutcome(
        f"job {job_id}: expected an outcome as a worker writes it ({reason}); submit it again, and "
        "have nothing else write to the broker's database"
    )


def _end(pipe: Any, job_id: str) -> None:
    """Forget what is kept of a job while it is pending."""
    pipe.zrem(_PENDING, job_id)
    pipe.hdel(_MESSAGES, job_id)
    pipe.delete(delivery_key(job_id))


def connect(url: str, *, timeout: float = 10, retries: int = 4) -> redis.Redis:
    """A connection pool for the ledger, which tries again while a server restarts.

    `timeout`: seconds without an answer after which a connection is given up; no command here takes
    a tenth of that, and a network may swallow a connection without a word. `retries`: how often a
    command is tried again, within some seconds.
    """
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        # What a stranger wrote into Redis is looked at, and not stumbled over.
        encoding_errors="backslashreplace",
        socket_connect_timeout=min(5, timeout),
        socket_timeout=timeout,
        socket_keepalive=True,
        health_check_interval=timeout,
        retry=Retry(ExponentialBackoff(cap=2, base=0.1), retries=retries),
        retry_on_error=[redis.ConnectionError, redis.TimeoutError],
    )
