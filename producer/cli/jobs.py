"""The commands for single jobs: `submit`, `outcome`, and `cancel`, which also takes a run."""

# Implementations are imported inside the commands, so that `--help` stays fast.
import json
import re
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from producer.cli.arguments import AsJson
from producer.cli.exit_codes import ExitCode
from producer.console.option_flags import takes_options
from producer.contract.job import run_of_job_id
from producer.contract.options import Options

if TYPE_CHECKING:
    from producer.contract.outcome import Outcome

_LIKE_A_RUN: Final = re.compile("[0-9]{8}-[0-9]{6}-[0-9a-z]+")
"""Ids of runs, also those that another program wrote; ids of their jobs have a dot."""

JobArgument = Annotated[
    str, typer.Argument(metavar="JOB", help="The job's id, as `cutwork submit` prints it.")
]
Timeout = Annotated[
    float, typer.Option(min=0, max=1_000_000, help="Longest time to wait, in seconds.")
]


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
    timeout: Timeout = 600,
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
    from producer.contract.errors import InvalidJob
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
    _print(outcome, as_json=as_json)


def outcome(
    job: JobArgument,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the outcome of a pending job.")
    ] = False,
    timeout: Timeout = 600,
    as_json: AsJson = False,
) -> None:
    """Show the outcome of a job that was submitted earlier, or that it is pending.

    Exits with status 1 if the job failed or was cancelled, 2 if no job has this id or its outcome
    has expired after a day, and 3 if the broker does not answer or the job is still pending.
    """
    from producer.cli.terminal import give_up, open_client, refuse
    from producer.client import BrokerUnavailable, OutcomeTimeout
    from producer.contract.errors import InvalidJob
    from producer.contract.outcome import UnreadableOutcome

    with open_client() as client:
        try:
            handle = client.handle(job)
            # In this order, because the job may end between the two reads.
            state = handle.state()
            found = handle.outcome()
            if found is None and state == "pending" and wait:
                found = handle.wait(timeout)
        except InvalidJob as error:
            refuse(str(error))
        except (BrokerUnavailable, OutcomeTimeout, UnreadableOutcome) as error:
            give_up(str(error))
    if found is not None:
        _print(found, as_json=as_json)
    if as_json:
        typer.echo(json.dumps({"job_id": job, "state": state}))
    if state == "pending":
        give_up(f"job {job} is pending: it is queued or running; wait for it with --wait")
    if (run := run_of_job_id(job)) and state == "ended":
        give_up(
            f"job {job} has ended; outcomes of a run are counted, not stored one by one: "
            f"`cutwork report {run}` shows them"
        )
    refuse(
        f"job {job}: expected a pending job or a stored outcome, found neither; either no job has "
        "this id, or its outcome has expired: outcomes are stored for a day"
    )


def cancel(
    item: Annotated[
        str,
        typer.Argument(
            metavar="RUN|JOB",
            help="A run's id, as `cutwork runs` prints it, or a job's, as `cutwork submit` does.",
        ),
    ],
) -> None:
    """Cancel a run or one job: queued jobs do not start, running jobs are finished."""
    if _LIKE_A_RUN.fullmatch(item):
        _cancel_run(item)
    else:
        _cancel_job(item)


def _cancel_run(run: str) -> None:
    from producer.cli.run_reports import open_ledger
    from producer.cli.terminal import console, give_up

    with open_ledger() as client:
        if not client.runs.end(run, "cancelled"):
            give_up(f"run {run} is already {client.runs.state(run)}")
        left = client.runs.in_flight(run)
    console.print(f"run {run} cancelled; {left:,} queued jobs will not start")


def _cancel_job(job: str) -> None:
    from producer.cli.terminal import console, give_up, open_client, refuse
    from producer.client import BrokerUnavailable, UnknownJob
    from producer.contract.errors import InvalidJob

    with open_client() as client:
        try:
            is_cancelled = client.cancel(job)
        except (InvalidJob, UnknownJob) as error:
            refuse(str(error))
        except BrokerUnavailable as error:
            give_up(str(error))
    if not is_cancelled:
        give_up(
            f"job {job} has begun or ended, so it was not cancelled; `cutwork outcome {job}` shows "
            "which"
        )
    console.print(f"job {job} cancelled; it will not start")


def _print(outcome: "Outcome", *, as_json: bool) -> NoReturn:
    """Print an outcome and end the command with its exit code."""
    if as_json:
        typer.echo(json.dumps(outcome.to_message()))
    else:
        _show(outcome)
    raise typer.Exit(ExitCode.OK if outcome.ok else ExitCode.FAILED)


def _show(outcome: "Outcome") -> None:
    from producer.cli.terminal import console, errors
    from producer.console.findings import safe_text

    if not outcome.ok:
        code, message = outcome.code or outcome.state, outcome.message or ""
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
