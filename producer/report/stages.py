"""The stages of a job as reports show them: order, colours and times."""

from typing import Final

from producer.contract.outcome import Outcome

STAGES: Final = {
    "fetch": "#4e79a7",
    "load": "#b07aa1",
    "decode": "#4fa8a3",
    "wait": "#c8ccd2",
    "prepare": "#ffbe7d",
    "model": "#f28e2b",
    "mask": "#e15759",
    "matting": "#b6992d",
    "edges": "#edc948",
    "encode": "#59a14f",
    "store": "#8a8178",
}
"""The stages of `Outcome.seconds` in drawing order, each with its colour."""


def total_seconds(outcome: Outcome) -> float:
    """Return the seconds from start to end; the stages may add up to a little less."""
    return outcome.seconds.get("total", sum(outcome.seconds.values()))


def stage_times(outcome: Outcome) -> list[tuple[str, str, float]]:
    """Return name, colour and seconds of every stage that was reached, in order."""
    spent = outcome.seconds
    return [(name, colour, spent[name]) for name, colour in STAGES.items() if name in spent]
