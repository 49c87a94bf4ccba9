"""The report page of a run: one file with all pictures, without scripts, readable offline.

Needs the `report` extra.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from producer.console import humanize
from producer.contract.outcome import Outcome
from producer.contract.run import RunRecord
from producer.contract.s3_uri import ImageRef
from producer.report.run_chart import Bar, Throughput, round_top, throughput
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
    "no_foreground": "without a foreground",
    "tiny_mask": "with a tiny mask",
    "full_mask": "with a full mask",
}


class Plot(NamedTuple):
    """One bar chart over time."""

    id: str
    title: str
    unit: str
    colour: str
    values: list[float]
    """One value per bar of `Throughput.bars`."""

    @property
    def top(self) -> float:
        """The upper end of the axis."""
        return round_top(max(self.values))


def run_page(
    record: RunRecord,
    *,
    s3: "Callable[[], S3Client]",
    sources: "Callable[[], S3Client] | None" = None,
) -> str:
    """Return the page as HTML; fetches the pictures from `s3`, a few objects at a time.

    `sources` is for the pictures of sources in a store of their own.
    """
    suspicious, sample = record.suspicious[:_MAX_CARDS], record.sample[:_MAX_CARDS]
    outcomes = (*suspicious, *sample)
    refs = {ref for outcome in outcomes for _, ref in _pictures(outcome) if ref}
    originals = {outcome.source.ref for outcome in outcomes if outcome.source and sources}
    thumbnails = fetch_thumbnails(sorted(refs - originals, key=str), s3=s3)
    thumbnails |= fetch_thumbnails(sorted(refs & originals, key=str), s3=sources or s3)
    over_time = throughput(record.minutes)
    templates = environment()
    for name in (
        *("count", "duration", "escape_controls", "iso_timestamp"),
        *("plain_number", "quantity", "three_digits", "timestamp"),
    ):
        templates.filters[name] = getattr(humanize, name)
    return templates.get_template("run_report.html").render(
        record=record,
        counts=record.counts,
        figures=figures(record),
        source=record.spec.source or f"the manifest {record.spec.manifest}",
        facts=run_facts(record),
        retry_command=retry_command(record, "failures.jsonl"),
        input_states=input_states(record.counts),
        undecided=undecided(record.counts),
        over_time=over_time,
        plots=_plots(over_time.bars) if over_time else (),
        axis=_axis(over_time) if over_time else (),
        stage_means=stage_means(record),
        failed=record.counts.failed,
        problems=record.counts.failed + record.counts.conflicting,
        codes=_largest_first(record.codes),
        # The first failure with each code is its example.
        examples={failure.code: failure.message for failure in reversed(record.failures)},
        failures=record.failures[:_MAX_FAILURES],
        suspicions_left_out=sum(record.suspicions.values()) > len(suspicious),
        suspicions=[
            f"{humanize.count(number)} {_SUSPICIONS.get(name, name)}"
            for name, number in record.suspicions.items()
        ],
        suspicious=[_card(outcome, record, thumbnails) for outcome in suspicious],
        slowest=[
            {
                "name": _name(outcome, record),
                "total": total_seconds(outcome),
                "stages": stage_times(outcome),
                "size": _size(outcome),
            }
            for outcome in record.slowest[:_MAX_SLOWEST]
        ],
        sample=[_card(outcome, record, thumbnails) for outcome in sample],
        workers=_largest_first(record.workers),
        percentage=humanize.percentage,
    )


def _pictures(outcome: Outcome) -> list[tuple[str, ImageRef | None]]:
    return [
        ("original", outcome.source.ref if outcome.source else None),
        ("mask", outcome.mask.ref if outcome.mask else None),
        ("cut-out", outcome.image.ref if outcome.image else None),
    ]


def _card(
    outcome: Outcome, record: RunRecord, thumbnails: dict[ImageRef, Thumbnail]
) -> dict[str, object]:
    """Return one image with its thumbnails, for the macro `cards`."""
    share = outcome.foreground_share
    facts = (
        _size(outcome),
        "" if share is None else f"{humanize.percentage(share, 1)} foreground",
        humanize.duration(total_seconds(outcome)) if outcome.seconds else "",
    )
    return {
        "name": _name(outcome, record),
        "badge": (outcome.suspicion or "").replace("_", " "),
        "facts": [fact for fact in facts if fact],
        "pictures": [
            (role, thumbnails[ref] if ref else Thumbnail(problem="none"))
            for role, ref in _pictures(outcome)
        ],
    }


def _size(outcome: Outcome) -> str:
    size = outcome.source.size if outcome.source else None
    return f"{size[0]} × {size[1]} px" if size else ""


def _name(outcome: Outcome, record: RunRecord) -> str:
    """Return the key below the source prefix, else the whole URI, else the job's id."""
    if outcome.source is None:
        return f"job {outcome.job_id}"
    name, prefix = str(outcome.source.ref), record.spec.source
    if prefix and name.startswith(prefix) and name != prefix:
        name = name.removeprefix(prefix).removeprefix("/")
    return humanize.shorten_middle(name, _LONGEST_NAME)


def _largest_first(numbers: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(numbers.items(), key=lambda item: (-item[1], item[0]))


def _plots(bars: Sequence[Bar]) -> list[Plot]:
    images, megapixels = [bar.images for bar in bars], [bar.megapixels for bar in bars]
    return [
        Plot("images", "Images per minute", "images", "#4e79a7", images),
        Plot("pixels", "Megapixels per minute", "MP", "#4fa8a3", megapixels),
    ]


def _axis(over_time: Throughput) -> list[str]:
    """Return the labels under a chart: its start, its middle if it is wide, and its end."""
    length = over_time.minutes * 60
    times: Iterable[float] = (0, length / 2, length) if over_time.minutes > 8 else (0, length)
    texts = [humanize.timestamp(over_time.start + at) for at in times]
    days = {text[:10] for text in texts}
    return [text[11:16] if len(days) == 1 else text[5:16] for text in texts]
