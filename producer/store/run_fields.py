"""Conversion between a run and the fields of its Redis hash."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from producer.contract.outcome import Outcome
from producer.contract.run import Minute, RunCounts, RunRecord, RunSpec

UNREADABLE_CODES: Final = {
    *("corrupt_image", "decompression_bomb", "empty_source", "image_too_large", "not_an_image"),
    *("source_too_large", "unsupported_image"),
}
"""Codes of failures that recur until the source changes."""
_SUMS: Final = ("pixels", "source_bytes", "output_bytes")


def outcome_figures(outcome: Outcome) -> dict[str, Any]:
    """Return what `record_outcome.lua` needs to know about an outcome.

    Unknown values are left out, because JSON's null is not false in Lua.
    """
    source = outcome.source
    width, height = (source and source.size) or (0, 0)
    done = outcome.state == "done"
    output_bytes = [facts.bytes for facts in (outcome.image, outcome.mask) if facts and done]
    sums: dict[str, float] = {
        "pixels": width * height,
        "source_bytes": (source and source.bytes) or 0 if done else 0,
        "output_bytes": sum(output_bytes),
    }
    if done:
        sums |= {f"seconds:{stage}": spent for stage, spent in outcome.seconds.items()}
    if outcome.worker:
        sums[f"worker:{outcome.worker}"] = 1
    draw = hashlib.sha256(outcome.job_id.encode()).digest()[:6]
    facts = {
        "state": outcome.state,
        "sums": sums,
        "minute": int(outcome.finished_at) // 60 * 60,
        "pixels": width * height,
        "total": outcome.seconds.get("total", 0),
        "draw": int.from_bytes(draw),
        "suspicion": outcome.suspicion,
        "code": outcome.code,
        "message": outcome.message,
        "etag": source.etag if source and outcome.code in UNREADABLE_CODES else None,
    }
    return {name: value for name, value in facts.items() if value is not None}


def build_record(run: str, facts: Mapping[str, str]) -> RunRecord:
    """Return the record, without its lists, from all fields of the run's hash."""

    def group(prefix: str) -> dict[str, float]:
        start = prefix + ":"
        return {
            name.removeprefix(start): float(value)
            for name, value in facts.items()
            if name.startswith(start)
        }

    return RunRecord.model_validate(
        {
            "id": run,
            "state": facts["state"],
            # A newer release may have more fields; a record that is only displayed can ignore them.
            "spec": RunSpec.model_validate_json(facts["spec"], extra="ignore"),
            "created_at": facts["created_at"],
            **{name: facts.get(name) for name in ("finished_at", "command", "total", "report_due")},
            "resumed": facts.get("resumed", 0),
            "counts": RunCounts.model_validate(group("count"), extra="ignore"),
            "codes": group("code"),
            "suspicions": group("suspicion"),
            "workers": group("worker"),
            "seconds": group("seconds"),
            **{name: float(facts.get(name, 0)) for name in _SUMS},
        }
    )


def build_minutes(fields: Mapping[str, str]) -> tuple[Minute, ...]:
    """Return the minutes in order from the hash, which has two fields for each."""
    starts = sorted({int(name.partition(":")[0]) for name in fields})
    return tuple(
        Minute(
            start=start,
            images=int(fields[f"{start}:images"]),
            pixels=int(fields[f"{start}:pixels"]),
        )
        for start in starts
    )
