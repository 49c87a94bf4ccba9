"""The beginning of a run, in which a few jobs show whether all of them would fail."""

from typing import Final

from producer.contract.run import RunRecord

TRIAL_JOBS: Final = 20
"""The most jobs in flight until one of them shows that the run's options are accepted."""
_MIN_FAILURES: Final = 3
_OPTION_CODES: Final = frozenset(
    {
        *("unknown_model", "licence_not_accepted", "option_conflict", "model_invalid"),
        *("model_hash_mismatch", "malformed_message"),
    }
)
"""Error codes that depend on the options of a run and not on an image, and that do not pass."""
_DOUBTFUL_CODES: Final = frozenset(
    {"forbidden", "gpu_unavailable", "gpu_no_driver", "gpu_no_provider", "gpu_wrong_cuda"}
)
"""Error codes that most often concern all jobs, sometimes a part of a prefix or one machine of a
pool: more failures must show it."""


class EveryJobFails(Exception):
    """The first jobs of a run have failed for a reason that all of them share."""

    def __init__(self, code: str, message: str, *, failed: int) -> None:
        super().__init__(
            f"{code}: {message}; the first {failed:,} jobs failed with it, and every other would "
            "too, so the run was cancelled; correct the command or the workers, and run it again"
        )


def is_over(record: RunRecord) -> bool:
    """Return whether a job of the run has shown that its options are accepted."""
    counts = record.counts
    shared = sum(n for code, n in record.failed_codes.items() if _is_shared(code))
    return counts.done + counts.skipped + counts.failed > shared


def jobs_left(record: RunRecord, most: int) -> int:
    """Return how many more jobs may be sent until one has shown that the options are accepted.

    `most` may be tried at first. A job that was cancelled by itself shows nothing, and does not
    count: otherwise a run whose first jobs are cancelled would wait for outcomes that never come.
    """
    return most - (record.counts.sent - record.counts.cancelled)


def shared_failure(record: RunRecord) -> str | None:
    """Return the most frequent code if every job would fail with one that all share, else None."""
    numbers = {code: n for code, n in record.failed_codes.items() if _is_shared(code)}
    if is_over(record) or not numbers:
        return None
    code = max(numbers, key=numbers.__getitem__)
    enough = _MIN_FAILURES if code in _OPTION_CODES else TRIAL_JOBS
    # Different codes together may fill the trial, which would otherwise wait for ever.
    return code if numbers[code] >= enough or sum(numbers.values()) >= TRIAL_JOBS else None


def _is_shared(code: str) -> bool:
    return code in _OPTION_CODES or code in _DOUBTFUL_CODES
