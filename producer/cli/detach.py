"""`cutwork sync … --detach`: start the same command again in a session of its own."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import typer

from producer.cli.exit_codes import ExitCode
from producer.cli.terminal import console, errors
from producer.client import Client
from producer.contract.run import RunSpec

_BEGINS_SECONDS: Final = 20.0
"""How long to wait for the run to begin; comparing a large bucket takes longer."""


def detach(client: Client, spec: RunSpec, run: str | None, *, as_json: bool) -> None:
    """Start the same command in the background, and print how to follow the run."""
    arguments = [item for item in sys.argv[1:] if item != "--detach"]
    with tempfile.NamedTemporaryFile(
        mode="w", prefix="cutwork-sync-", suffix=".log", delete=False
    ) as log:
        child = subprocess.Popen(
            # -P: do not import modules from the current folder.
            [sys.executable, "-P", "-m", "producer", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        run = _wait_for_run(client, spec, run, child)
    except KeyboardInterrupt:
        child.terminate()
        errors.print("interrupted; nothing continues in the background")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    if child.returncode is not None:
        path = Path(log.name)
        typer.echo(path.read_text(), nl=False)
        path.unlink()
        raise typer.Exit(child.returncode)
    if as_json:
        typer.echo(json.dumps({"run": run, "log": log.name, "pid": child.pid}))
        return
    subject = f"run {run}" if run else "the comparison"
    console.print(f"{subject} continues in the background, process {child.pid}, log {log.name}")
    if run:
        console.print(f"cutwork follow {run} shows its progress, cutwork cancel {run} stops it")
    else:
        console.print("`cutwork runs` lists the run once it has a job to send")


def _wait_for_run(
    client: Client, spec: RunSpec, run: str | None, child: "subprocess.Popen[bytes]"
) -> str | None:
    """Wait for the run that the child feeds; None if it does not begin in time or has ended."""
    deadline = time.monotonic() + _BEGINS_SECONDS
    while child.poll() is None and time.monotonic() < deadline:
        run = run or client.runs.find_unfinished(spec)
        if run and client.runs.feeder_host(run):
            return run
        time.sleep(0.1)
    return None
