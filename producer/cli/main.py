"""Remove image backgrounds: submit images, process whole buckets, inspect the queue."""

# The help of a command costs what this module imports, so the implementations, with their
# libraries for S3, Redis and Celery, are imported inside the commands.
import json
import signal
import subprocess
import sys
from typing import Annotated

import typer

from producer.cli.arguments import AsJson
from producer.cli.exit_codes import ExitCode
from producer.cli.exporter.command import exporter
from producer.cli.jobs import cancel, outcome, submit
from producer.cli.runs import follow, report, runs
from producer.cli.sync import sync
from producer.observability.log_format import format_stderr_warnings
from producer.observability.tracing import open_traces

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


for command in (submit, outcome, cancel, sync, runs, follow, report, exporter):
    app.command()(command)


def main() -> None:
    """Run the console script."""
    # Treat SIGTERM as Ctrl-C. By default, PID 1 of a container ignores it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    format_stderr_warnings()
    open_traces("cutwork")
    app(prog_name="cutwork")
