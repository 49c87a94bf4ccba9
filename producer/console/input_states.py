"""The names of the states of a run's inputs: the same in progress lines, dry runs and reports."""

from collections.abc import Mapping

from producer.contract.run import RunCounts

UNSENT = {
    "current": "up to date",
    "folders": "folders",
    "not_images": "not images by their names (--all sends them)",
    "filtered": "excluded",
    "archived": "archived (restore them to process them)",
    "known": "known to be unreadable (--retry-failed retries them)",
    "conflicting": "conflicting",
}
"""The texts for the inputs that were not sent, by the field of `unsent_counts`."""


def unsent_counts(counts: RunCounts) -> dict[str, int]:
    """Return how many inputs were not sent, by reason; `filtered` is the rest of `excluded`."""
    return {
        "current": counts.current,
        "folders": counts.folders,
        "not_images": counts.not_images,
        "filtered": counts.excluded - counts.folders - counts.not_images,
        "archived": counts.archived,
        "known": counts.known,
        "conflicting": counts.conflicting,
    }


def unsent_texts(numbers: Mapping[str, int]) -> list[str]:
    """Return the numbers that are not 0 as texts, such as `5 up to date`."""
    return [f"{numbers[name]:,} {text}" for name, text in UNSENT.items() if numbers.get(name)]
