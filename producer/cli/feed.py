"""Feed a run from this terminal and show it: what `cutwork sync` does when it is not detached."""

import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Final

import redis
import typer
from kombu.exceptions import KombuError

from producer.cli.run_view import View, failure_line
from producer.cli.runs import watch, write_report
from producer.cli.terminal import console
from producer.client import Client
from producer.config.broker_url import failure_verb
from producer.contract.run import RunRecord
from producer.store.runs import UnknownRun
from producer.sync.count_remaining import count_remaining
from producer.sync.feeder import Feeder
from producer.sync.feeder_lock import FeederRunning
from producer.sync.follow import outcome_count

_IDLE_SECONDS: Final = 15
"""Without any outcome, after which somebody should look whether there is a worker."""
_INTERRUPTED: Final = 130
"""The exit status of Ctrl-C."""
_SHOWN: Final = 20
"""Inputs named that cannot be sent, where nothing else is to be done."""


def feed_and_report(client: Client, feeder: Feeder, seen: View, *, report_to: str) -> None:
    """Feed to the end, say what came of it, write the report; always ends with a `typer.Exit`."""
    with seen:
        if feeder.run:
            client.runs.count_resumption(feeder.run)
            seen.notice(f"run {feeder.run} goes on")
        record = _fed(client, feeder, seen)
    if record is None:
        seen.nothing_to_do(feeder.planned)
        for failure in feeder.conflicts[:_SHOWN]:
            console.print(failure_line(failure))
        raise typer.Exit(1 if feeder.conflicts else 0)
    if record.state == "running":
        seen.end(record)
        raise typer.Exit(_INTERRUPTED)
    written = write_report(client.runs.record(record.id), report_to, seen)
    seen.end(record)
    raise typer.Exit(0 if record.ok and written else 1)


def _fed(client: Client, feeder: Feeder, seen: View) -> RunRecord | None:
    """Feed a run to its end; while another process does, watch. None: there was nothing to send."""
    while True:
        try:
            return _fed_here(client, feeder, seen)
        except FeederRunning as error:
            seen.notice(f"{error}; following it")
            record = watch(client, error.run, seen, over=partial(_is_unfed, client, error.run))
            if record.state != "running":
                return record
            feeder.run = error.run
            seen.notice(f"nothing feeds run {error.run} any more; going on")


def _fed_here(client: Client, feeder: Feeder, seen: View) -> RunRecord | None:
    """Feed in a thread, and watch from this one."""
    feeder.stopping.clear()
    with ThreadPoolExecutor(4) as threads:
        feeding = threads.submit(feeder.feed)
        try:
            while not feeder.run and not feeding.done():
                seen.planned(feeder.planned)
                time.sleep(0.05)
            if feeder.run:
                threads.submit(count_remaining, feeder)
                threads.submit(_ask_for_workers, client, feeder, seen)
                threads.submit(client.sweep.run, feeder.stopping, events=seen)
                _watch(client, feeder.run, seen, feeding)
            feeding.result()
        except KeyboardInterrupt:
            _stop(feeder, feeding, seen)
        finally:
            feeder.stopping.set()
    return client.runs.summary(feeder.run) if feeder.run else None


def _watch(client: Client, run: str, seen: View, feeding: "Future[None]") -> None:
    try:
        watch(client, run, seen, over=feeding.done)
    except UnknownRun:
        # The feeder says it better.
        return


def _stop(feeder: Feeder, feeding: "Future[None]", seen: View) -> None:
    """End between two batches; at a second Ctrl-C, or without a broker, at once."""
    seen.notice("interrupted; waiting for the batch in hand")
    feeder.stopping.set()
    try:
        feeding.result()
    except KeyboardInterrupt:
        # Whatever hangs, nothing of the run is only here.
        os._exit(_INTERRUPTED)
    except (redis.RedisError, KombuError) as error:
        seen.notice(
            f"run {feeder.run} is not finished, and the broker {failure_verb(error)} ({error})"
        )
        raise typer.Exit(_INTERRUPTED) from error
    if not feeder.run:
        raise typer.Exit(_INTERRUPTED)


def _ask_for_workers(client: Client, feeder: Feeder, seen: View) -> None:
    """Say it, once, when nothing happens and no worker answers."""
    if feeder.stopping.wait(_IDLE_SECONDS):
        return
    try:
        if not outcome_count(client.runs.summary(str(feeder.run))) and not client.workers():
            seen.notice("no worker answers; start one, see `cutwork doctor`")
    except (redis.RedisError, KombuError, UnknownRun):
        # The feeder meets the same, and says so.
        return


def _is_unfed(client: Client, run: str) -> bool:
    return client.runs.feeder_host(run) is None
