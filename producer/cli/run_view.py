"""A run as a terminal, a log file or a machine sees it while it goes on."""

import json
import time
from contextlib import ExitStack
from typing import Any, Final, Self

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from producer.cli.terminal import console
from producer.console.findings import safe_text
from producer.console.humanize import countdown
from producer.contract.run import Failure, RunCounts, RunRecord
from producer.observability.events import Events
from producer.sync.follow import RunProgress, outcome_count

_LINE_SECONDS: Final = 10.0
"""Time between two lines where there is no terminal."""
_FIRST_LINE_SECONDS: Final = 2.0
"""Until the first: what is over at once needs none."""


class View(ExitStack, Events):
    """Plain lines: one every ten seconds, and one a failure. The other views change parts of it."""

    def __init__(self) -> None:
        super().__init__()
        self._next = time.monotonic() + _FIRST_LINE_SECONDS

    def notice(self, sentence: str) -> None:
        """Print a sentence."""
        console.print(safe_text(sentence))

    def jobs_resent(self, count: int) -> None:
        """Print how many lost jobs of other runs were sent again, if any."""
        if count:
            self.notice(f"sent {count:,} lost jobs of others again")

    def planned(self, counts: RunCounts) -> None:
        """Say now and then how far the comparison is, while nothing has been sent."""
        if self._due():
            console.print(f"{counts.seen:,} compared, nothing to send yet")

    def progress(self, progress: RunProgress) -> None:
        """Say now and then how far the run is; failures at once."""
        for failure in progress.failures:
            console.print(failure_line(failure))
        if self._due() and progress.record.state == "running":
            console.print(", ".join(state_of(progress)))

    def nothing_to_do(self, counts: RunCounts) -> None:
        """Say why nothing was sent."""
        if not counts.seen:
            console.print("nothing to do: nothing lies there")
            return
        console.print(f"nothing to do: of {counts.seen:,} inputs {', '.join(_left_alone(counts))}")

    def end(self, record: RunRecord) -> None:
        """Say the last words on a run."""
        for line in ending(record):
            console.print(safe_text(line))

    def _due(self) -> bool:
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + _LINE_SECONDS
        return True


class Bar(View):
    """A progress bar, with a line a failure above it."""

    def __init__(self) -> None:
        super().__init__()
        columns = BarColumn(bar_width=24), TextColumn("{task.description}")
        self._progress = Progress(*columns, console=console)
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        """Show it, until the end of the block."""
        self.enter_context(self._progress)
        return super().__enter__()

    def planned(self, counts: RunCounts) -> None:
        """Let the bar pulse, once it takes a while: nobody knows the end yet."""
        if not counts.seen:
            return
        self._update(f"{counts.seen:,} compared, nothing to send yet", done=0, total=None)

    def progress(self, progress: RunProgress) -> None:
        """Move the bar."""
        for failure in progress.failures:
            console.print(failure_line(failure))
        self._update(
            " · ".join(state_of(progress)),
            done=outcome_count(progress.record),
            total=progress.record.total,
        )

    def _update(self, text: str, *, done: int, total: int | None) -> None:
        if self._task is None:
            self._task = self._progress.add_task("", total=None)
        self._progress.update(self._task, completed=done, total=total, description=text)


class Json(View):
    """One JSON object a line: `progress` twice a second, `failure`, `note`, and at last `end`."""

    def notice(self, sentence: str) -> None:
        """Print it as a note."""
        _print_json("note", text=sentence)

    def planned(self, counts: RunCounts) -> None:
        """Print the counts so far."""
        if self._due():
            _print_json("progress", counts=counts.model_dump())

    def progress(self, progress: RunProgress) -> None:
        """Print failures and figures."""
        for failure in progress.failures:
            _print_json("failure", **failure.model_dump(mode="json", exclude_none=True))
        _print_json(
            "progress",
            **_figures(progress.record),
            images_per_second=round(progress.images_per_second, 3),
            megapixels_per_second=round(progress.megapixels_per_second, 3),
            remaining_seconds=None if progress.remaining is None else round(progress.remaining),
        )

    def nothing_to_do(self, counts: RunCounts) -> None:
        """Print an end without a run."""
        _print_json("end", run=None, state=None, counts=counts.model_dump())

    def end(self, record: RunRecord) -> None:
        """Print the end, of a run that goes on elsewhere or later too."""
        _print_json("end", **_figures(record))


def view(*, as_json: bool) -> View:
    """The view that fits standard output."""
    if as_json:
        return Json()
    return Bar() if console.is_terminal else View()


def state_of(progress: RunProgress) -> list[str]:
    """The figures of a look, in words."""
    counts, total = progress.record.counts, progress.record.total
    of = f" of {total:,}" if total is not None else ""
    figures = [f"{counts.done:,}{of} done"]
    figures += [
        f"{number:,} {name}"
        for name, number in (
            ("skipped", counts.skipped),
            ("failed", counts.failed + counts.conflicting),
            ("cancelled", counts.cancelled),
        )
        if number
    ]
    figures.append(f"{progress.images_per_second:.1f} images/s")
    figures.append(f"{progress.megapixels_per_second:.1f} MP/s")
    if progress.remaining is not None:
        figures.append(f"{countdown(progress.remaining)} left")
    return figures


def failure_line(failure: Failure) -> str:
    """One failure as a line for the terminal."""
    source = str(failure.source)
    message = failure.message.removeprefix(f"{source}: ")
    return f"[red]{safe_text(failure.code)}[/] {safe_text(source)}: {safe_text(message)}"


def ending(record: RunRecord) -> list[str]:
    """The last words on a run."""
    counts = record.counts
    left_alone = _left_alone(counts)
    words = {"finished": "finished", "cancelled": "cancelled", "running": "not finished"}
    lines = [
        f"run {record.id} {words[record.state]}: {counts.done:,} done, {counts.skipped:,} skipped, "
        f"{counts.failed + counts.conflicting:,} failed"
        + (f", {counts.cancelled:,} cancelled" if counts.cancelled else "")
        + (f", {counts.in_flight:,} in flight" if counts.in_flight else "")
        + f"; {counts.seen:,} seen"
        + (f", of which {', '.join(left_alone)}" if left_alone else "")
    ]
    if record.codes:
        codes = sorted(record.codes.items(), key=lambda item: -item[1])
        lines.append("failed: " + ", ".join(f"{number:,} {code}" for code, number in codes))
    if record.state == "running":
        lines.append(f"run it again to go on, or stop it: cutwork cancel {record.id}")
    return lines


def _left_alone(counts: RunCounts) -> list[str]:
    return [
        f"{number:,} {text}"
        for number, text in (
            (counts.current, "up to date"),
            (counts.excluded, "left out"),
            (counts.conflicting, "without a name of their own"),
            (counts.known, "known to be unreadable (--retry-failed tries them again)"),
        )
        if number
    ]


def _figures(record: RunRecord) -> dict[str, Any]:
    return {
        "run": record.id,
        "state": record.state,
        "counts": record.counts.model_dump() | {"in_flight": record.counts.in_flight},
        "codes": record.codes,
        "total": record.total,
    }


def _print_json(event: str, **facts: Any) -> None:
    typer.echo(json.dumps({"event": event, **facts}))
