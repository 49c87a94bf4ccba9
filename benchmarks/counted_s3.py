"""The stand-in worker, which also writes down what it asks of S3.

Every request, retries too, adds a line with its name to the file `CUTWORK_S3_LOG`.
"""

import os
from pathlib import Path

from botocore import handlers


def _count(event_name: str, **_: object) -> None:
    with Path(os.environ["CUTWORK_S3_LOG"]).open("a") as log:
        log.write(event_name.rpartition(".")[2] + "\n")


# Before the first session is made: each takes these as they are then.
handlers.BUILTIN_HANDLERS.append(("before-send.s3", _count))

from benchmarks.standin import app, tasks  # noqa: E402

__all__ = ["app", "tasks"]
