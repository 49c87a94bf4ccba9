"""Remove image backgrounds: submit images, process whole buckets, inspect the queue."""

# The help of a command costs what this module imports, so the implementations, with their
# libraries for S3, Redis and Celery, are imported inside the commands.
import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from producer.cli.arguments import AsJson
from producer.cli.exit_codes import ExitCode
from producer.cli.exporter.command import exporter
from producer.cli.runs import cancel, follow, report, runs
from producer.cli.sync import sync
from producer.console.option_flags import takes_options
from producer.contract.options import Options
from producer.observability.log_format import format_stderr_warnings
from producer.observability.tracing import open_traces

if TYPE_CHECKING:
    from producer.contract.outcome import Outcome

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # Rich's tables truncate option names.
    help=__doc__,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"cutwork {version('cutwork')}")
        raise typer.Exit


@app.callback()
def _global_options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None: ...


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

    Exits with status 1 if the job fails (with --wait), 2 if the job is refused, and 3 if the broker
    does not answer or there is no outcome within --timeout.
    """
    from producer.cli.terminal import give_up, open_client, refuse
    from producer.client import BrokerUnavailable, OutcomeTimeout
    from producer.contract.job import InvalidJob
    from producer.contract.outcome import UnreadableOutcome

    with open_client() as client:
        try:
            handle = client.submit(source, image=image, mask=mask, options=options)
            if not wait:
                typer.echo(json.dumps({"job_id": handle.id}) if as_json else handle.id)
                return
            outcome = handle.wait(timeout)
        except InvalidJob as error:
            refuse(str(error))
        except (BrokerUnavailable, OutcomeTimeout, UnreadableOutcome) as error:
            give_up(str(error))
    if as_json:
        typer.echo(json.dumps(outcome.to_message()))
    else:
        _show(outcome)
    raise typer.Exit(ExitCode.OK if outcome.ok else ExitCode.FAILED)


@app.command()
def status(
    as_json: AsJson = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show the status again and again, until Ctrl-C.")
    ] = False,
    every: Annotated[
        float, typer.Option(min=0.2, max=3600, help="Seconds between two of them, with --watch.")
    ] = 2,
) -> None:
    """Show queued and in-flight jobs, the age of the oldest queued job, and responding workers."""
    from producer.cli.status import show_status

    show_status(as_json=as_json, every=every if watch else None)


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
    from producer.cli.doctor import examine
    from producer.cli.terminal import console, open_client
    from producer.console.findings import show

    with open_client() as client:
        findings = list(examine(client, read=read or [], write=write or []))
    if as_json:
        typer.echo(json.dumps([finding.to_json() for finding in findings]))
    else:
        show(findings, console)
    raise typer.Exit(
        ExitCode.OK if all(finding.passed for finding in findings) else ExitCode.FAILED
    )


@app.command(
    context_settings={
        "help_option_names": [],
        "allow_extra_args": True,
        "ignore_unknown_options": True,
    },
    add_help_option=False,
)
def models(context: typer.Context) -> None:
    """List and download models; runs `python -m worker models` of the local installation."""
    from producer.cli.doctor import local_worker
    from producer.cli.terminal import refuse

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


def _show(outcome: "Outcome") -> None:
    from producer.cli.terminal import console, errors
    from producer.console.findings import safe_text

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
