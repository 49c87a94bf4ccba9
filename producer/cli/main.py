"""Remove image backgrounds: submit images, process whole buckets, inspect the queue."""

import json
import signal
import subprocess
import sys
from typing import Annotated

import redis
import typer
from rich.markup import escape

from producer.cli.doctor import examine, local_worker
from producer.cli.exporter.command import exporter
from producer.cli.runs import cancel, follow, report, runs
from producer.cli.sync import sync
from producer.cli.terminal import AsJson, console, errors, open_client, refuse, unreachable
from producer.client import BrokerUnavailable, OutcomeTimeout
from producer.console.findings import safe_text, show
from producer.console.option_flags import takes_options
from producer.contract.job import InvalidJob
from producer.contract.options import Options
from producer.contract.outcome import Outcome, UnreadableOutcome
from producer.observability.log_format import format_stderr_warnings
from producer.observability.tracing import open_traces
from producer.store.queue_status import QueueStatus, combine

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # Rich's tables truncate option names.
    help=__doc__,
)


@app.command()
@takes_options
def submit(
    source: Annotated[str, typer.Argument(metavar="IN", help="Source image, s3://bucket/key.")],
    image: Annotated[
        str | None,
        typer.Argument(metavar="OUT", help="Destination of the RGBA cut-out, s3://bucket/key."),
    ] = None,
    mask: Annotated[
        str | None, typer.Option("--mask", help="Destination of the mask, s3://bucket/key.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the outcome and print it.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=0, max=1_000_000, help="Longest time to wait, in seconds.")
    ] = 600,
    as_json: AsJson = False,
    *,
    options: Options,
) -> None:
    """Enqueue one image.

    Exits with status 1 if the job is refused or, with --wait, if it fails.
    """
    with open_client() as client:
        try:
            handle = client.submit(source, image=image, mask=mask, options=options)
            if not wait:
                typer.echo(json.dumps({"job_id": handle.id}) if as_json else handle.id)
                return
            outcome = handle.wait(timeout)
        except (InvalidJob, BrokerUnavailable, OutcomeTimeout, UnreadableOutcome) as error:
            refuse(str(error))
    if as_json:
        typer.echo(json.dumps(outcome.to_message()))
    else:
        _show(outcome)
    raise typer.Exit(0 if outcome.ok else 1)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show queued and in-flight jobs, the age of the oldest queued job, and responding workers."""
    with open_client() as client:
        try:
            queues, pending = client.statuses(), client.pending()
            workers = client.workers()
        except (redis.RedisError, OSError) as error:
            unreachable(client, error)
    queue = combine(queues.values())
    if as_json:
        facts = _facts(queue) | {
            "pending": pending,
            "queues": {name: _facts(status) for name, status in queues.items()},
            "workers": workers,
        }
        typer.echo(json.dumps(facts))
        return
    lines = [("waiting", f"{queue.waiting}{_oldest(queue)}"), ("in flight", str(queue.in_flight))]
    lines += [
        (name, f"{status.waiting} waiting{_oldest(status)}; {status.in_flight} in flight")
        for name, status in queues.items()
        if len(queues) > 1
    ]
    lines.append(("pending", f"{pending} submitted, no outcome yet"))
    lines.append(("workers", ", ".join(workers) or "none responded within a second"))
    width = max(10, *(len(name) for name, _ in lines))
    for name, value in lines:
        console.print(f"[bold]{name:<{width}}[/] {escape(value)}")


@app.command()
def doctor(
    read: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="S3://BUCKET/PREFIX", help="Prefixes that must be readable, any number."
        ),
    ] = None,
    write: Annotated[
        list[str] | None,
        typer.Option(
            "--write",
            metavar="S3://BUCKET/PREFIX",
            help="A prefix that must be writable; may be repeated.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check the broker, the workers, S3 and the local installation, with advice on failures."""
    with open_client() as client:
        findings = list(examine(client, read=read or [], write=write or []))
    if as_json:
        typer.echo(json.dumps([finding.to_json() for finding in findings]))
    else:
        show(findings, console)
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def models(context: typer.Context) -> None:
    """List and download models; runs `python -m worker models` of the local installation."""
    if not local_worker():
        refuse(
            "expected an installed worker, found none; install cutwork[worker-cpu] or "
            "cutwork[worker-gpu], or run this command on a worker's machine"
        )
    # A separate process: the producer never imports the worker or its dependencies.
    command = [sys.executable, "-m", "worker", "models", *context.args]
    sys.exit(subprocess.run(command, check=False).returncode)


for command in (sync, runs, follow, cancel, report, exporter):
    app.command()(command)


def main() -> None:
    """Run the console script."""
    # Treat SIGTERM as Ctrl-C. By default, PID 1 of a container ignores it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    format_stderr_warnings()
    open_traces("cutwork")
    app(prog_name="cutwork")


def _facts(queue: QueueStatus) -> dict[str, int | float | None]:
    return {
        "waiting": queue.waiting,
        "in_flight": queue.in_flight,
        "oldest_waiting_seconds": queue.oldest_waiting,
    }


def _oldest(queue: QueueStatus) -> str:
    age = queue.oldest_waiting
    return "" if age is None else f", the oldest for {age:.0f} s"


def _show(outcome: Outcome) -> None:
    if not outcome.ok:
        code, message = outcome.code or "", outcome.message or ""
        errors.print(f"[red]{safe_text(code)}[/]: {safe_text(message)}")
        return
    for facts in (outcome.image, outcome.mask):
        if facts is not None:
            console.print(f"{safe_text(str(facts.ref))}  {facts.bytes:,} bytes")
    if outcome.state == "skipped":
        console.print("skipped: the outputs already match this source and these options")
        return
    run, seconds = outcome.run, outcome.seconds.get("total", 0)
    model = f"{run.model} on {run.device} ({run.provider}, {run.dtype})" if run else "no model used"
    share = f"foreground {outcome.foreground_share or 0:.1%}"
    console.print(f"{share}; {safe_text(model)}; {seconds:.2f} s")
    for warning in outcome.warnings:
        console.print(f"[yellow]warning[/]: {safe_text(warning)}")
