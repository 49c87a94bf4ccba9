"""The stand-in worker, which also logs its S3 requests.

Every request, including retries, appends a line with its name to the file `CUTWORK_S3_LOG`.
"""

import os
from pathlib import Path

from botocore import handlers


def _count(event_name: str, **_: object) -> None:
    with Path(os.environ["CUTWORK_S3_LOG"]).open("a") as log:
        log.write(event_name.rpartition(".")[2] + "\n")


# Before the first session, which copies the handlers.
handlers.BUILTIN_HANDLERS.append(("before-send.s3", _count))

from benchmarks.standin import app, tasks  # noqa: E402

__all__ = ["app", "tasks"]
