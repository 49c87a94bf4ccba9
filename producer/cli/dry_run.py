"""The output of `cutwork sync --dry-run`."""

import json

import typer

from producer.cli.terminal import console
from producer.client import Client
from producer.console.findings import safe_text
from producer.contract.run import RunSpec
from producer.sync.plan.dry_run import (
    DryRun,
    Estimate,
    dry_run,
    estimate,
    input_json,
    summary_lines,
)
from producer.sync.plan.step import Plan, Step


def show_dry_run(client: Client, spec: RunSpec, plan: Plan, *, as_json: bool) -> None:
    """Print what a run would do: as text with examples, or as one JSON object with every input."""
    if as_json:
        _print_json(client, spec, plan)
        return
    result = dry_run(plan(""), spec, find_unreadable=client.runs.find_unreadable)
    guess = estimate(spec, result.sent, runs=client.runs.runs())
    for name, text in summary_lines(result, guess):
        console.print(f"{name:<10} {safe_text(text)}")


def _print_json(client: Client, spec: RunSpec, plan: Plan) -> None:
    """Print one object, an input per line; it is written while the plan is read."""
    separator = "\n"

    def show(step: Step) -> None:
        nonlocal separator
        typer.echo(separator + json.dumps(input_json(step, spec)), nl=False)
        separator = ",\n"

    typer.echo('{"inputs": [', nl=False)
    result = dry_run(plan(""), spec, find_unreadable=client.runs.find_unreadable, show=show)
    typer.echo(f"\n], {json.dumps(_figures(client, spec, result))[1:]}")


def _figures(client: Client, spec: RunSpec, result: DryRun) -> dict[str, object]:
    guess = estimate(spec, result.sent, runs=client.runs.runs())
    return result.to_json() | {"estimate": guess._asdict() if isinstance(guess, Estimate) else None}
