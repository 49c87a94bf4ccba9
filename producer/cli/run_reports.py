"""Watch a run, write its report, and open the ledger for the commands about runs."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import redis
from botocore.exceptions import BotoCoreError, ClientError

from producer.cli.run_view import RunView, WrittenReport
from producer.cli.terminal import give_up, open_client, refuse, unreachable, warn
from producer.client import Client
from producer.contract.run import RunRecord
from producer.contract.s3_prefix import S3Prefix
from producer.report.run_report import FAILURES, write_run_report
from producer.report.run_summary import retry_command
from producer.store.runs import UnknownRun
from producer.store.unreadable_run import UnreadableRun
from producer.sync.follow import follow_progress
from producer.sync.listing.objects import listing_client


def watch(
    client: Client, run: str, view: RunView, *, over: Callable[[], bool] = lambda: False
) -> RunRecord:
    """Show a run until it ends or `over` returns true; return its record at that moment."""
    for progress in follow_progress(client.runs, run, every=0.5, is_over=over):
        view.progress(progress)
    return client.runs.summary(run)


def check_report_place(place: str) -> None:
    """Raise `ValueError` if no report can be written there, before the run starts.

    Creates nothing: a run that has nothing to send leaves no folder.
    """
    if place.startswith("s3://"):
        S3Prefix.parse(place)
        return
    path = Path(place).absolute()
    while not os.path.exists(path):  # noqa: PTH110 - `Path.exists` raises if it may not look
        path = path.parent
    if not path.is_dir() or not os.access(path, os.W_OK | os.X_OK):
        raise ValueError(
            f"{place}: expected a writable folder, found that {path} is "
            + ("not writable" if path.is_dir() else "not a folder")
        )


def write_due_report(client: Client, digest: str, view: RunView) -> None:
    """Write the report of the last run of the same command if its process did not get to it."""
    for record in client.runs.runs():
        if record.spec.digest() == digest:
            if record.report_due and record.state != "running":
                view.notice(f"run {record.id} ended without a report, which is written now")
                write_report(client, record.id, record.report_due, view)
            return


def write_report(client: Client, run: str, place: str, view: RunView) -> bool:
    """Write a run's report into a subfolder or prefix named after it; False if that fails."""
    record = client.runs.record(run)
    folder = f"{place.rstrip('/')}/{run}"
    try:
        written = write_run_report(
            record,
            folder,
            s3=listing_client,
            sources=partial(listing_client, for_sources=True),
            failures=client.runs.all_failures(run),
            warn=warn,
        )
    except (BotoCoreError, ClientError, OSError, ValueError) as error:
        command = f"cutwork report {record.id} PLACE"
        warn(f"the report cannot be written ({error}); write it elsewhere with `{command}`")
        return False
    if record.state != "running":
        if record.counts.in_flight:
            view.notice(
                f"{record.counts.in_flight:,} jobs have no outcome yet; `cutwork report {run}` "
                "writes the report again"
            )
        client.runs.expect_report(run, None)
    again = retry_command(record, f"{folder}/{FAILURES}") if record.counts.failed else None
    view.report_written(WrittenReport(written, again))
    return True


@contextmanager
def open_ledger() -> Iterator[Client]:
    """Open a client for a command that reads runs; errors end the command with a sentence."""
    with open_client() as client:
        try:
            yield client
        except UnknownRun as error:
            refuse(str(error))
        except UnreadableRun as error:
            give_up(str(error))
        except (redis.RedisError, OSError) as error:
            unreachable(client, error)
