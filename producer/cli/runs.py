"""The commands about runs that there are: `runs`, `follow`, `cancel`, `report`."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import redis
import typer
from botocore.exceptions import BotoCoreError, ClientError

from producer.cli.run_view import View, view
from producer.cli.terminal import AsJson, console, open_client, refuse, unreachable, warn
from producer.client import Client
from producer.console.findings import safe_text
from producer.contract.run import RunRecord
from producer.contract.s3_prefix import S3Prefix
from producer.report.run_report import FAILURES, write_run_report
from producer.report.run_summary import again
from producer.store.runs import UnknownRun
from producer.store.unreadable import UnreadableRun
from producer.sync.follow import follow_progress
from producer.sync.listing.objects import listing_client

REPORTS: Final = "cutwork-runs"
"""The folder of reports, where no other place is named."""

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="The run's id, see `cutwork runs`.")
]


def runs(as_json: AsJson = False) -> None:
    """List the runs of the last month, the latest first."""
    with _ledger() as client:
        found = client.runs.runs()
        feeders = {record.id: client.runs.feeder_host(record.id) for record in found}
    if as_json:
        typer.echo(
            json.dumps(
                [
                    record.model_dump(mode="json", exclude_none=True)
                    | {"fed_by": feeders[record.id]}
                    for record in found
                ]
            )
        )
        return
    if not found:
        console.print("no runs yet; `cutwork sync s3://…/in/ s3://…/out/` begins one")
    for record in found:
        counts = record.counts
        started = time.strftime("%Y-%m-%d %H:%M", time.gmtime(record.created_at))
        where = record.spec.source or f"manifest {record.spec.manifest}"
        state: str = record.state
        if state == "running":
            state = f"fed by {feeders[record.id]}" if feeders[record.id] else "interrupted"
        console.print(
            f"[bold]{record.id}[/]  {started}  {safe_text(state)}: {counts.done:,} done, "
            f"{counts.skipped:,} skipped, {counts.failed + counts.conflicting:,} failed, "
            f"{counts.cancelled:,} cancelled, {counts.in_flight:,} in flight  {safe_text(where)}"
        )


def follow(run: RunArgument, as_json: AsJson = False) -> None:
    """Show a run until it ends, from anywhere; Ctrl-C ends the showing, not the run."""
    with _ledger() as client, view(as_json=as_json) as seen:
        _say_if_unfed(client, run, seen)
        try:
            record = watch(client, run, seen)
        except KeyboardInterrupt:
            return
    seen.end(record)
    raise typer.Exit(0 if record.ok else 1)


def cancel(run: RunArgument) -> None:
    """Stop what has not started of a run; what runs at the moment is finished."""
    with _ledger() as client:
        if not client.runs.end(run, "cancelled"):
            refuse(f"run {run} is {client.runs.state(run)} already")
        left = client.runs.in_flight(run)
    console.print(f"run {run} cancelled; {left:,} jobs in the queue will not start")


def report(
    run: RunArgument,
    place: Annotated[
        str, typer.Argument(metavar="[PLACE]", help="Folder or s3://bucket/prefix.")
    ] = REPORTS,
) -> None:
    """Write a run's report.html, report.json and failures.jsonl, at its end or before."""
    with _ledger() as client:
        record = client.runs.record(run)
    raise typer.Exit(0 if write_report(record, place, View()) else 1)


def watch(
    client: Client, run: str, seen: View, *, over: Callable[[], bool] = lambda: False
) -> RunRecord:
    """Show a run until it ends, or `over` says so; returns it as it is then."""
    for progress in follow_progress(client.runs, run, every=0.5, over=over):
        seen.progress(progress)
    return client.runs.summary(run)


def _say_if_unfed(client: Client, run: str, seen: View) -> None:
    record = client.runs.summary(run)
    if record.state == "running" and client.runs.feeder_host(run) is None:
        seen.notice(f"no process feeds this run at the moment; to go on: {record.command}")


def check_report_place(place: str) -> None:
    """`ValueError` where no report can be written: better now than at the end."""
    if place.startswith("s3://"):
        S3Prefix.parse(place)
        return
    try:
        Path(place).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--report {place}: expected a folder to write into ({error})") from error


def write_report(record: RunRecord, place: str, seen: View) -> bool:
    """Write the report of a run into a folder, or under a prefix, of its own; False if it fails."""
    folder = f"{place.rstrip('/')}/{record.id}"
    try:
        written = write_run_report(record, folder, s3=listing_client, warn=warn)
    except (BotoCoreError, ClientError, OSError, ValueError) as error:
        warn(f"the report cannot be written ({error}); try `cutwork report {record.id} PLACE`")
        return False
    for item in written:
        seen.notice(f"report     {item}")
    if record.counts.failed:
        seen.notice(f"again      {again(record, f'{folder}/{FAILURES}')}")
    return True


@contextmanager
def _ledger() -> Iterator[Client]:
    """A client for commands that only look: what goes wrong is said in a sentence."""
    with open_client() as client:
        try:
            yield client
        except (UnknownRun, UnreadableRun) as error:
            refuse(str(error))
        except (redis.RedisError, OSError) as error:
            unreachable(client, error)
