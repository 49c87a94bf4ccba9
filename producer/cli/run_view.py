"""A run's progress on a terminal, in a log file, or as JSON."""

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final, NamedTuple, Self

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from producer.cli.terminal import console
from producer.console.findings import safe_text
from producer.console.humanize import countdown
from producer.console.input_states import unsent_counts, unsent_texts
from producer.contract.run import Failure, RunCounts, RunRecord
from producer.observability.events import Events
from producer.sync.follow import RunProgress, outcome_count

_LINE_SECONDS: Final = 10.0
"""Time between two lines when standard output is not a terminal."""
_FIRST_LINE_SECONDS: Final = 2.0
"""Time until the first line: a run that ends at once needs none."""


class WrittenReport(NamedTuple):
    """A report that was written."""

    paths: Sequence[str]
    """The files, or the objects in S3."""
    again: str | None
    """The command that sends the failed images again; None if there are none."""


class RunView(ExitStack, Events):
    """Plain lines: one every ten seconds and one per failure. The base class of the other views."""

    def __init__(self) -> None:
        super().__init__()
        self._began = time.monotonic()
        self._next = self._began + _FIRST_LINE_SECONDS
        self._report: WrittenReport | None = None

    def notice(self, sentence: str) -> None:
        """Print a sentence."""
        console.print(safe_text(sentence))

    def jobs_resent(self, count: int) -> None:
        """Print how many lost jobs of other producers were sent again, if any."""
        if count:
            self.notice(f"sent {count:,} lost jobs of other producers again")

    def planned(self, counts: RunCounts) -> None:
        """Print the progress of the comparison while no job has been sent."""
        if self._due():
            console.print(f"{counts.seen:,} compared, nothing to send yet")

    def progress(self, progress: RunProgress) -> None:
        """Print the run's progress from time to time, and failures at once."""
        for failure in progress.failures:
            console.print(failure_line(failure))
        if self._due() and progress.record.state == "running":
            console.print(", ".join(progress_texts(progress)))

    def nothing_to_do(self, counts: RunCounts) -> None:
        """Print why nothing was sent."""
        if not counts.seen:
            console.print("nothing to do: the source is empty")
            return
        unsent = ", ".join(unsent_texts(unsent_counts(counts)))
        console.print(f"nothing to do: {counts.seen:,} inputs, {unsent}")

    def conflict(self, failure: Failure) -> None:
        """Print a conflicting input of a command that began no run."""
        console.print(failure_line(failure))

    def report_written(self, report: WrittenReport) -> None:
        """Print where the report is, and the command that sends the failed images again."""
        for path in report.paths:
            self.notice(f"report     {path}")
        if report.again:
            self.notice(f"again      {report.again}")

    def end(self, record: RunRecord) -> None:
        """Print a run's summary."""
        for line in summary_lines(record):
            console.print(safe_text(line))

    def _due(self) -> bool:
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + _LINE_SECONDS
        return True


class BarView(RunView):
    """A progress bar, with one line per failure above it."""

    def __init__(self) -> None:
        super().__init__()
        columns = BarColumn(bar_width=24), TextColumn("{task.description}")
        self._progress = Progress(*columns, console=console)
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        """Show the bar until the end of the block."""
        self.enter_context(self._progress)
        return super().__enter__()

    def planned(self, counts: RunCounts) -> None:
        """Let the bar pulse, because the total is not known yet."""
        if counts.seen:
            self._update(f"{counts.seen:,} compared, nothing to send yet", done=0, total=None)

    def progress(self, progress: RunProgress) -> None:
        """Update the bar."""
        for failure in progress.failures:
            console.print(failure_line(failure))
        done, total = outcome_count(progress.record), progress.record.total
        self._update(" · ".join(progress_texts(progress)), done=done, total=total)

    def _update(self, text: str, *, done: int, total: int | None) -> None:
        if self._task is None:
            self._task = self._progress.add_task("", total=None)
        self._progress.update(self._task, completed=done, total=total, description=text)


class JsonView(RunView):
    """One JSON object per line: `progress` twice a second, `failure`, `conflict`, `note`, `end`."""

    def notice(self, sentence: str) -> None:
        """Print a sentence as a note."""
        _print_json("note", text=sentence)

    def planned(self, counts: RunCounts) -> None:
        """Print the counts so far."""
        if self._due():
            _print_json("progress", counts=counts.model_dump())

    def progress(self, progress: RunProgress) -> None:
        """Print new failures and the current figures."""
        for failure in progress.failures:
            kind = "conflict" if failure.is_conflict else "failure"
            _print_json(kind, **failure.model_dump(mode="json", exclude_none=True))
        _print_json(
            "progress",
            **_record_facts(progress.record),
            images_per_second=round(progress.images_per_second, 3),
            megapixels_per_second=round(progress.megapixels_per_second, 3),
            remaining_seconds=None if progress.remaining is None else round(progress.remaining),
        )

    def report_written(self, report: WrittenReport) -> None:
        """Keep the paths for the end event."""
        self._report = report

    def conflict(self, failure: Failure) -> None:
        """Print a conflicting input of a command that began no run."""
        _print_json("conflict", **failure.model_dump(mode="json", exclude_none=True))

    def nothing_to_do(self, counts: RunCounts) -> None:
        """Print the end event of a command that began no run."""
        _print_json("end", run=None, state=None, counts=counts.model_dump(), **self._end_facts())

    def end(self, record: RunRecord) -> None:
        """Print the end event, also for a run that continues elsewhere or later."""
        end = record.taken_at if record.finished_at is None else record.finished_at
        run_seconds = round(max(0.0, end - record.created_at), 3)
        _print_json("end", **_record_facts(record), run_seconds=run_seconds, **self._end_facts())

    def _end_facts(self) -> dict[str, Any]:
        report = self._report
        return {
            "seconds": round(time.monotonic() - self._began, 3),
            "report": report and list(report.paths),
            "again": report and report.again,
        }


def choose_view(*, as_json: bool) -> RunView:
    """Return the view that fits standard output."""
    if as_json:
        return JsonView()
    return BarView() if console.is_terminal else RunView()


def progress_texts(progress: RunProgress) -> list[str]:
    """Return the figures of a run as short texts."""
    counts, total = progress.record.counts, progress.record.total
    return [
        f"{counts.done:,} done" if total is None else f"{counts.done:,} of {total:,} done",
        *_nonzero(
            (counts.skipped, "skipped"),
            (counts.failed, "failed"),
            (counts.conflicting, "conflicting"),
            (counts.cancelled, "cancelled"),
        ),
        f"{progress.images_per_second:.1f} images/s",
        f"{progress.megapixels_per_second:.1f} MP/s",
        *([] if progress.remaining is None else [f"{countdown(progress.remaining)} left"]),
    ]


def failure_line(failure: Failure) -> str:
    """Return one failure as a line for the terminal."""
    source = str(failure.source)
    message = failure.message.removeprefix(f"{source}: ")
    return f"[red]{safe_text(failure.code)}[/] {safe_text(source)}: {safe_text(message)}"


def summary_lines(record: RunRecord) -> list[str]:
    """Return a run's summary as lines."""
    counts = record.counts
    unsent = ", ".join(unsent_texts(unsent_counts(counts)))
    state = "not finished" if record.state == "running" else record.state
    outcomes = [f"{counts.done:,} done", f"{counts.skipped:,} skipped"]
    outcomes.append(f"{counts.failed:,} failed")
    outcomes += _nonzero((counts.cancelled, "cancelled"), (counts.in_flight, "in flight"))
    lines = [
        f"run {record.id} {state}: {', '.join(outcomes)}; {counts.seen:,} seen"
        + (f", of which {unsent}" if unsent else "")
    ]
    for name, codes in (("failed", record.failed_codes), ("conflicting", record.conflict_codes)):
        if codes:
            lines.append(f"{name}: " + ", ".join(f"{n:,} {code}" for code, n in codes.items()))
    if record.state == "running":
        command = f"cutwork cancel {record.id}"
        lines.append(f"run the command again to resume, or stop the run: {command}")
    return lines


def _nonzero(*numbers: tuple[int, str]) -> list[str]:
    return [f"{number:,} {text}" for number, text in numbers if number]


def _record_facts(record: RunRecord) -> dict[str, Any]:
    return {
        "run": record.id,
        "state": record.state,
        "counts": record.counts.model_dump() | {"in_flight": record.counts.in_flight},
        "codes": record.codes,
        "total": record.total,
    }


def _print_json(event: str, **facts: Any) -> None:
    typer.echo(json.dumps({"event": event, **facts}))
