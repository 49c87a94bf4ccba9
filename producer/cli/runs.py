"""The commands for existing runs: `runs`, `follow`, `report`."""

# Implementations are imported inside the commands, so that `--help` stays fast.
import json
import time
from typing import Annotated

import typer

from producer.cli.arguments import REPORTS, AsJson, RunArgument
from producer.cli.exit_codes import ExitCode


def runs(as_json: AsJson = False) -> None:
    """List the runs of the last month, latest first."""
    from producer.cli.run_reports import open_ledger
    from producer.cli.terminal import console
    from producer.console.findings import safe_text

    with open_ledger() as client:
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
            f"{counts.skipped:,} skipped, {counts.failed:,} failed, "
            f"{counts.conflicting:,} conflicting, {counts.cancelled:,} cancelled, "
            f"{counts.in_flight:,} in flight  {safe_text(source)}"
        )


def follow(run: RunArgument, as_json: AsJson = False) -> None:
    """Show the progress of a run until it ends; Ctrl-C stops the display, not the run."""
    from producer.cli.run_reports import open_ledger, watch
    from producer.cli.run_view import choose_view

    with open_ledger() as client, choose_view(as_json=as_json) as view:
        record = client.runs.summary(run)
        if record.state == "running" and client.runs.feeder_host(run) is None:
            view.notice(f"no process feeds this run at the moment; to resume it: {record.command}")
        try:
            record = watch(client, run, view)
        except KeyboardInterrupt:
            return
    view.end(record)
    raise typer.Exit(ExitCode.OK if record.ok else ExitCode.FAILED)


def report(
    run: RunArgument,
    place: Annotated[
        str, typer.Argument(metavar="PLACE", help="Folder or s3://bucket/prefix.")
    ] = REPORTS,
) -> None:
    """Write report.html, report.json and failures.jsonl of a run, finished or not."""
    from producer.cli.run_reports import check_report_place, open_ledger, write_report
    from producer.cli.run_view import RunView
    from producer.cli.terminal import refuse

    try:
        check_report_place(place)
    except ValueError as error:
        refuse(str(error))
    with open_ledger() as client:
        is_written = write_report(client, run, place, RunView())
    raise typer.Exit(ExitCode.OK if is_written else ExitCode.STOPPED)
