"""The report page of a run: one file with all pictures, without scripts, readable offline.

Needs the `report` extra.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from producer.console import humanize
from producer.contract.outcome import Outcome
from producer.contract.run import Failure, RunRecord
from producer.contract.s3_uri import ImageRef
from producer.report.run_chart import Throughput, round_top, throughput
from producer.report.run_figures import figures, input_states, stage_means, undecided
from producer.report.run_summary import retry_command, run_facts
from producer.report.stages import stage_times, total_seconds
from producer.report.template import environment
from producer.report.thumbnail import Thumbnail, fetch_thumbnails

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_MAX_CARDS: Final = 24
"""Cards of suspicious images and cards of the sample, each with up to three pictures."""
_MAX_SLOWEST: Final = 20
_MAX_FAILURES: Final = 100
_LONGEST_NAME: Final = 110
"""Characters of a key on a card; tables show the whole key."""
_SUSPICIONS: Final = {
    "no_foreground": "no foreground",
    "tiny_mask": "tiny mask",
    "full_mask": "full mask",
}

_WITH: Final = {
    "no_foreground": "without a foreground",
    "tiny_mask": "with a tiny mask",
    "full_mask": "with a full mask",
}


class Card(NamedTuple):
    """One image with its thumbnails."""

    name: str
    badge: str
    facts: list[str]
    pictures: list[tuple[str, Thumbnail]]
    """Role (original, mask, cut-out) and thumbnail."""


class SlowImage(NamedTuple):
    """One of the slowest images."""

    name: str
    total: float
    stages: list[tuple[str, str, float]]
    size: str


class CodeCount(NamedTuple):
    """One error code with its number of failures."""

    code: str
    number: int
    example: str


class Plot(NamedTuple):
    """One bar chart over time."""

    id: str
    title: str
    unit: str
    colour: str
    top: float
    values: list[float]
    """One value per bar of `Throughput.bars`."""


def run_page(record: RunRecord, *, s3: "Callable[[], S3Client]") -> str:
    """Return the page as HTML; fetches the pictures from `s3`, a few objects at a time."""
    suspicious, sample = record.suspicious[:_MAX_CARDS], record.sample[:_MAX_CARDS]
    thumbnails = fetch_thumbnails(
        (ref for outcome in (*suspicious, *sample) for _, ref in _pictures(outcome) if ref), s3=s3
    )
    over_time = throughput(record.minutes)
    templates = environment()
    for name in (
        "quantity",
        "count",
        "duration",
        "plain_number",
        "three_digits",
        "timestamp",
        "iso_timestamp",
        "escape_controls",
    ):
        templates.filters[name] = getattr(humanize, name)
    return templates.get_template("run_report.html").render(
        record=record,
        counts=record.counts,
        figures=figures(record),
        source=record.spec.source or f"the manifest {record.spec.manifest}",
        facts=run_facts(record),
        retry_command=retry_command(record, "failures.jsonl"),
        conflicting=record.counts.conflicting,
        input_states=input_states(record.counts),
        undecided=undecided(record.counts),
        over_time=over_time,
        plots=_plots(over_time),
        axis=_axis(over_time),
        stage_means=stage_means(record),
        failed=record.counts.failed + record.counts.conflicting,
        codes=_codes(record),
        failures=record.failures[:_MAX_FAILURES],
        suspicions_left_out=sum(record.suspicions.values()) > len(suspicious),
        suspicions=[
            f"{humanize.count(number)} {_WITH.get(name, name)}"
            for name, number in record.suspicions.items()
        ],
        suspicious=[_card(outcome, record, thumbnails) for outcome in suspicious],
        slowest=[_slow(outcome, record) for outcome in record.slowest[:_MAX_SLOWEST]],
        sample=[_card(outcome, record, thumbnails) for outcome in sample],
        workers=sorted(record.workers.items(), key=lambda item: (-item[1], item[0])),
        percentage=humanize.percentage,
    )


def _pictures(outcome: Outcome) -> list[tuple[str, ImageRef | None]]:
    return [
        ("original", outcome.source.ref if outcome.source else None),
        ("mask", outcome.mask.ref if outcome.mask else None),
        ("cut-out", outcome.image.ref if outcome.image else None),
    ]


def _card(outcome: Outcome, record: RunRecord, thumbnails: dict[ImageRef, Thumbnail]) -> Card:
    source, share = outcome.source, outcome.foreground_share
    facts = [_size(outcome)]
    if share is not None:
        facts.append(f"{humanize.percentage(share, 1)} foreground")
    if outcome.seconds:
        facts.append(humanize.duration(total_seconds(outcome)))
    return Card(
        _name(source.ref if source else None, outcome, record),
        _SUSPICIONS.get(outcome.suspicion or "", ""),
        [fact for fact in facts if fact],
        [
            (role, thumbnails[ref] if ref else Thumbnail(problem="none"))
            for role, ref in _pictures(outcome)
        ],
    )


def _slow(outcome: Outcome, record: RunRecord) -> SlowImage:
    ref = outcome.source.ref if outcome.source else None
    return SlowImage(
        _name(ref, outcome, record), total_seconds(outcome), stage_times(outcome), _size(outcome)
    )


def _size(outcome: Outcome) -> str:
    size = outcome.source.size if outcome.source else None
    return f"{size[0]} × {size[1]} px" if size else ""


def _name(ref: ImageRef | None, outcome: Outcome, record: RunRecord) -> str:
    """Return the key below the source prefix, else the whole URI, else the job's id."""
    if ref is None:
        return f"job {outcome.job_id}"
    name, prefix = str(ref), record.spec.source
    if prefix and name.startswith(prefix) and name != prefix:
        name = name.removeprefix(prefix).removeprefix("/")
    return humanize.shorten_middle(name, _LONGEST_NAME)


def _codes(record: RunRecord) -> list[CodeCount]:
    """Return every code, the most frequent first, with the message of its first failure."""
    examples: dict[str, Failure] = {}
    for failure in record.failures:
        examples.setdefault(failure.code, failure)
    ordered = sorted(record.codes.items(), key=lambda item: (-item[1], item[0]))
    return [
        CodeCount(code, number, examples[code].message if code in examples else "")
        for code, number in ordered
    ]


def _plots(over_time: Throughput | None) -> list[Plot]:
    if over_time is None:
        return []
    bars = over_time.bars
    series = [
        ("images", "Images per minute", "images", "#4e79a7", [bar.images for bar in bars]),
        ("pixels", "Megapixels per minute", "MP", "#4fa8a3", [bar.megapixels for bar in bars]),
    ]
    return [
        Plot(name, title, unit, colour, round_top(max(values)), values)
        for name, title, unit, colour, values in series
    ]


def _axis(over_time: Throughput | None) -> Sequence[str]:
    """Return the labels under a chart: its start, its middle if it is wide, and its end."""
    if over_time is None:
        return ()
    length = over_time.minutes * 60
    times: Iterable[float] = (0, length / 2, length) if over_time.minutes > 8 else (0, length)
    texts = [humanize.timestamp(over_time.start + at) for at in times]
    days = {text[:10] for text in texts}
    return [text[11:16] if len(days) == 1 else text[5:16] for text in texts]
