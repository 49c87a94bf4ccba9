"""`make local`: a broker, an S3 server and a worker to try the commands with."""

import shlex
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape

from deploy.child import ChildFailed
from deploy.demo.command import (
    MODEL,
    WORKER_STARTS,
    fetch_model,
    no_more_interrupts,
    no_more_interrupts_on_exit,
    photographs,
    stop_on_signals,
)
from deploy.local import LocalStack
from worker.errors import CutworkError

VARIABLES: Final = Path(".local.env")
"""The environment for a second terminal to source; removed when the servers stop."""

console = Console()


def main() -> None:
    """Run until Ctrl-C."""
    stop_on_signals()
    try:
        fetch_model()
        with (
            tempfile.TemporaryDirectory(prefix="cutwork-local-") as folder,
            LocalStack(Path(folder)) as stack,
            no_more_interrupts_on_exit(),
        ):
            _serve(stack)
    except KeyboardInterrupt:
        no_more_interrupts()
        console.print("\nstopped")
    except (ChildFailed, CutworkError) as error:
        console.print(f"[red]error[/]: {escape(str(error))}", soft_wrap=True)
        sys.exit(1)


def _serve(stack: LocalStack) -> None:
    with console.status("starting a broker, an S3 server and a worker …"):
        stack.start_broker()
        console.print(f"broker   {stack.broker_url}", highlight=False)
        stack.start_s3()
        console.print(f"S3       {stack.s3_url}", highlight=False)
        worker = stack.start_worker(CUTWORK_PRELOAD=MODEL, CUTWORK_MODELS_FROM="s3://models")
        console.print(WORKER_STARTS)
        s3 = stack.s3()
        for bucket in ("photos", "cutouts", "models"):
            s3.create_bucket(Bucket=bucket)
        for name, data in photographs().items():
            s3.put_object(Bucket="photos", Key=name, Body=data)
        stack.wait_for_worker(worker, timeout=600)
    lines = (f"export {key}={shlex.quote(value)}" for key, value in stack.environment().items())
    text = "\n".join(lines) + "\n"
    VARIABLES.touch(mode=0o600)
    VARIABLES.write_text(text)
    console.print(f"s3://photos contains {', '.join(photographs())}", highlight=False)
    console.print(f"in another terminal: [bold]. .venv/bin/activate && . ./{VARIABLES}[/]")
    console.print("Ctrl-C stops everything")
    try:
        while True:
            stack.check()
            time.sleep(1)
    finally:
        if (
            VARIABLES.is_file() and VARIABLES.read_text() == text
        ):  # A later run may have replaced it.
            VARIABLES.unlink()


if __name__ == "__main__":
    main()
