"""The commands for existing runs: `runs`, `follow`, `cancel`, `report`."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import redis
import typer
from botocore.exceptions import BotoCoreError, ClientError

from producer.cli.run_view import RunView, choose_view
from producer.cli.terminal import AsJson, console, open_client, refuse, unreachable, warn
from producer.client import Client
from producer.console.findings import safe_text
from producer.contract.run import RunRecord
from producer.contract.s3_prefix import S3Prefix
from producer.report.run_report import FAILURES, write_run_report
from producer.report.run_summary import retry_command
from producer.store.runs import UnknownRun
from producer.store.unreadable_run import UnreadableRun
from producer.sync.follow import follow_progress
from producer.sync.listing.objects import listing_client

REPORTS: Final = "cutwork-runs"
"""Default folder for reports."""

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="The run's id, as `cutwork runs` prints it.")
]


def runs(as_json: AsJson = False) -> None:
    """List the runs of the last month, latest first."""
    with _open_ledger() as client:
        feeders = [(record, client.runs.feeder_host(record.id)) for record in client.runs.runs()]
    if as_json:
        dumps = [
            record.model_dump(mode="json", exclude_none=True) | {"fed_by": feeder}
            for record, feeder in feeders
        ]
        typer.echo(json.dumps(dumps))
        return
    if not feeders:
        console.print("no runs yet; start one with `cutwork sync s3://…/in/ s3://…/out/`")
    for record, feeder in feeders:
        counts = record.counts
        started = time.strftime("%Y-%m-%d %H:%M", time.gmtime(record.created_at))
        source = record.spec.source or f"manifest {record.spec.manifest}"
        state: str = record.state
        if state == "running":
            state = f"fed by {feeder}" if feeder else "interrupted"
        console.print(
            f"[bold]{record.id}[/]  {started}  {safe_text(state)}: {counts.done:,} done, "
            f"{counts.skipped:,} skipped, {counts.failed + counts.conflicting:,} failed, "
            f"{counts.cancelled:,} cancelled, {counts.in_flight:,} in flight  {safe_text(source)}"
        )


def follow(run: RunArgument, as_json: AsJson = False) -> None:
    """Show the progress of a run until it ends; Ctrl-C stops the display, not the run."""
    with _open_ledger() as client, choose_view(as_json=as_json) as view:
        record = client.runs.summary(run)
        if record.state == "running" and client.runs.feeder_host(run) is None:
            view.notice(f"no process feeds this run at the moment; to resume it: {record.command}")
        try:
            record = watch(client, run, view)
        except KeyboardInterrupt:
            return
    view.end(record)
    raise typer.Exit(0 if record.ok else 1)


def cancel(run: RunArgument) -> None:
    """Cancel a run: queued jobs do not start, running jobs are finished."""
    with _open_ledger() as client:
        if not client.runs.end(run, "cancelled"):
            refuse(f"run {run} is already {client.runs.state(run)}")
        left = client.runs.in_flight(run)
    console.print(f"run {run} cancelled; {left:,} queued jobs will not start")


def report(
    run: RunArgument,
    place: Annotated[
        str, typer.Argument(metavar="PLACE", help="Folder or s3://bucket/prefix.")
    ] = REPORTS,
) -> None:
    """Write report.html, report.json and failures.jsonl of a run, finished or not."""
    with _open_ledger() as client:
        record = client.runs.record(run)
    raise typer.Exit(0 if write_report(record, place, RunView()) else 1)


def watch(
    client: Client, run: str, view: RunView, *, over: Callable[[], bool] = lambda: False
) -> RunRecord:
    """Show a run until it ends or `over` returns true; return its record at that moment."""
    for progress in follow_progress(client.runs, run, every=0.5, is_over=over):
        view.progress(progress)
    return client.runs.summary(run)


def check_report_place(place: str) -> None:
    """Raise `ValueError` if no report can be written there, before the run starts."""
    if place.startswith("s3://"):
        S3Prefix.parse(place)
        return
    try:
        Path(place).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--report {place}: expected a writable folder ({error})") from error


def write_report(record: RunRecord, place: str, view: RunView) -> bool:
    """Write a run's report into a subfolder or prefix named after it; False if that fails."""
    folder = f"{place.rstrip('/')}/{record.id}"
    try:
        written = write_run_report(
            record,
            folder,
            s3=listing_client,
            sources=partial(listing_client, for_sources=True),
            warn=warn,
        )
    except (BotoCoreError, ClientError, OSError, ValueError) as error:
        command = f"cutwork report {record.id} PLACE"
        warn(f"the report cannot be written ({error}); write it elsewhere with `{command}`")
        return False
    for item in written:
        view.notice(f"report     {item}")
    if record.counts.failed:
        view.notice(f"again      {retry_command(record, f'{folder}/{FAILURES}')}")
    return True


@contextmanager
def _open_ledger() -> Iterator[Client]:
    """Open a client for a command that reads runs; errors end the command with a sentence."""
    with open_client() as client:
        try:
            yield client
        except (UnknownRun, UnreadableRun) as error:
            refuse(str(error))
        except (redis.RedisError, OSError) as error:
            unreachable(client, error)
