"""Feed a run from this terminal and show its progress: `cutwork sync` without `--detach`."""

import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Final

import redis
import typer
from kombu.exceptions import KombuError

from producer.cli.exit_codes import ExitCode
from producer.cli.run_reports import watch, write_due_report, write_report
from producer.cli.run_view import RunView
from producer.cli.terminal import refuse, warn
from producer.client import BrokerUnavailable, Client
from producer.config.broker_url import failure_verb
from producer.contract.run import RunRecord
from producer.store.runs import UnknownRun
from producer.sync.count_remaining import count_remaining
from producer.sync.feeder import Feeder
from producer.sync.feeder_lock import FeederRunning
from producer.sync.follow import outcome_count
from producer.sync.trial import EveryJobFails

_IDLE_SECONDS: Final = 15
"""Time without any outcome after which the workers are checked."""


def feed_and_report(client: Client, feeder: Feeder, view: RunView, *, report_to: str) -> None:
    """Feed a run to its end, print the result and write the report; always raises `typer.Exit`."""
    with view:
        if not feeder.run:
            write_due_report(client, feeder.spec.digest(), view)
        else:
            client.runs.count_resumption(feeder.run)
            view.notice(f"run {feeder.run} is resumed")
        try:
            record = _feed(client, feeder, view, report_to)
        except EveryJobFails as error:
            write_report(client, str(feeder.run), report_to, view)
            view.end(client.runs.summary(str(feeder.run)))
            refuse(str(error))
    if record is None:
        for failure in feeder.conflicts:
            view.conflict(failure)
        _warn_of_conflicts(feeder.planned.conflicting)
        view.nothing_to_do(feeder.planned)
        raise typer.Exit(ExitCode.OK)
    if record.state == "running":
        view.end(record)
        raise typer.Exit(ExitCode.INTERRUPTED)
    written = write_report(client, record.id, report_to, view)
    _warn_of_conflicts(record.counts.conflicting)
    view.end(record)
    if not record.ok:
        raise typer.Exit(ExitCode.FAILED)
    raise typer.Exit(ExitCode.OK if written else ExitCode.STOPPED)


def _warn_of_conflicts(count: int) -> None:
    """Warn that inputs have no output: they do not count as failed, and no later run sends them."""
    if count:
        warn(
            f"{count:,} conflicting inputs were not sent, because their outputs have no name of "
            "their own; give them one with --name, or leave them out with --exclude"
        )


def _feed(client: Client, feeder: Feeder, view: RunView, report_to: str) -> RunRecord | None:
    """Feed a run to its end, or watch it while another process feeds it.

    Returns None if there was nothing to send.
    """
    runs = client.runs
    while True:
        try:
            return _feed_here(client, feeder, view, report_to)
        except FeederRunning as error:
            view.notice(f"{error}; following it")
            feeder.run = run = error.run
            record = watch(client, run, view, over=lambda: not runs.feeder_host(str(feeder.run)))
            if record.state != "running":
                return record
            view.notice(f"no process feeds run {run} any more; resuming it here")


def _feed_here(client: Client, feeder: Feeder, view: RunView, report_to: str) -> RunRecord | None:
    """Feed in another thread, and show progress from this one."""
    feeder.stopping.clear()
    with ThreadPoolExecutor(4) as threads:
        feeding = threads.submit(feeder.feed)
        try:
            while not feeder.run and not feeding.done():
                view.planned(feeder.planned)
                time.sleep(0.05)
            if feeder.run:
                client.runs.expect_report(feeder.run, report_to)
                threads.submit(count_remaining, feeder)
                threads.submit(_check_for_workers, client, feeder, view)
                threads.submit(client.sweep.run, feeder.stopping, events=view)
                with suppress(UnknownRun):  # The feeder reports it, with more detail.
                    watch(client, feeder.run, view, over=feeding.done)
            feeding.result()
        except KeyboardInterrupt:
            _stop(feeder, feeding, view)
        finally:
            feeder.stopping.set()
    return client.runs.summary(feeder.run) if feeder.run else None


def _stop(feeder: Feeder, feeding: "Future[None]", view: RunView) -> None:
    """Stop after the current batch; at a second Ctrl-C, or without a broker, at once."""
    view.notice("interrupted; waiting for the current batch")
    feeder.stopping.set()
    try:
        feeding.result()
    except KeyboardInterrupt:
        # The whole state of the run is in Redis, so a hanging thread may be abandoned.
        os._exit(ExitCode.INTERRUPTED)
    except (redis.RedisError, KombuError, BrokerUnavailable) as error:
        verb = failure_verb(error)
        view.notice(f"run {feeder.run} is not finished, and the broker {verb} ({error})")
        raise typer.Exit(ExitCode.INTERRUPTED) from error
    if not feeder.run:
        raise typer.Exit(ExitCode.INTERRUPTED)


def _check_for_workers(client: Client, feeder: Feeder, view: RunView) -> None:
    """Print a notice if no outcome arrives and no worker responds."""
    if feeder.stopping.wait(_IDLE_SECONDS):
        return
    # The feeder meets the same errors and reports them.
    with suppress(redis.RedisError, KombuError, BrokerUnavailable, UnknownRun):
        if not outcome_count(client.runs.summary(str(feeder.run))) and not client.workers():
            view.notice("no worker responds; start one, see `cutwork doctor`")
