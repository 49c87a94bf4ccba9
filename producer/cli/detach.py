"""Start a command once more in a session of its own: `cutwork sync … --detach`."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, NoReturn

import typer

from producer.cli.terminal import console, errors
from producer.client import Client
from producer.contract.run import RunSpec

_BEGINS_SECONDS: Final = 20.0
"""How long its beginning is waited for: comparing a large bucket takes longer."""


def detach(client: Client, spec: RunSpec, run: str | None, *, as_json: bool) -> None:
    """Start the same command in the background, and say how to follow it once it has begun."""
    arguments = [item for item in sys.argv[1:] if item != "--detach"]
    with tempfile.NamedTemporaryFile(
        mode="w", prefix="cutwork-sync-", suffix=".log", delete=False
    ) as log:
        child = subprocess.Popen(
            # -P: the folder one stands in is not for imports.
            [sys.executable, "-P", "-m", "producer", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        run = _begun(client, spec, run, child)
    except KeyboardInterrupt:
        child.terminate()
        errors.print("interrupted; nothing goes on in the background")
        raise typer.Exit(130) from None
    if child.returncode is not None:
        _over(child.returncode, Path(log.name))
    if as_json:
        typer.echo(json.dumps({"run": run, "log": log.name, "pid": child.pid}))
        return
    what = f"run {run} goes on" if run else "the comparison goes on"
    console.print(f"{what} in the background, process {child.pid}, log {log.name}")
    if run:
        console.print(f"cutwork follow {run} shows it, cutwork cancel {run} stops it")
    else:
        console.print("`cutwork runs` lists it when it has something to send")


def _begun(
    client: Client, spec: RunSpec, run: str | None, child: "subprocess.Popen[bytes]"
) -> str | None:
    """The run that the child feeds, None if it has not begun in time or is over."""
    deadline = time.monotonic() + _BEGINS_SECONDS
    while child.poll() is None and time.monotonic() < deadline:
        run = run or client.runs.find_unfinished(spec)
        if run and client.runs.feeder_host(run):
            return run
        time.sleep(0.1)
    return None


def _over(status: int, log: Path) -> NoReturn:
    """Over already: nothing to do, a quick run, or a refusal; as if it had not been detached."""
    typer.echo(log.read_text(), nl=False)
    log.unlink()
    raise typer.Exit(status)
