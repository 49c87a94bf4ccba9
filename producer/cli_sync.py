"""The command about whole buckets: `sync`."""

import json
import shlex
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import redis
import typer
from kombu.exceptions import KombuError

from producer.cli_runs import REPORTS, show_ending, watch, write_report
from producer.client import Client
from producer.finding import shown
from producer.flags import takes_options
from producer.listing.objects import ListingFailed, listing_client
from producer.manifest.manifest import Manifest, ManifestError, open_manifest
from producer.options import Options
from producer.plan.compare import check_places
from producer.plan.dry_run import dry_run, estimate, in_words
from producer.plan.since import since_time
from producer.plan.steps import Plan, listing_steps, manifest_steps
from producer.run.ledger import UnknownRun
from producer.run.record import DEFAULT_NAME, RunRecord, RunSpec
from producer.run_view import View, view
from producer.settings import SettingsError
from producer.sync.feeder import Feeder, Taken
from producer.sync.look_ahead import look_ahead
from producer.terminal import AsJson, console, open_client, refuse, unreachable

_BAD_LINES_SHOWN: Final = 20


@takes_options
def sync(
    source: Annotated[
        str | None, typer.Argument(metavar="IN", help="s3://bucket/prefix of the photographs.")
    ] = None,
    image: Annotated[
        str | None, typer.Argument(metavar="OUT", help="s3://bucket/prefix for the cut-outs.")
    ] = None,
    mask: Annotated[
        str | None, typer.Option("--mask", help="s3://bucket/prefix for the masks.")
    ] = None,
    manifest: Annotated[
        str | None,
        typer.Option(
            help="Instead of IN and OUT: a CSV, JSON Lines or Parquet file of source, image, mask; "
            "a path, an s3:// object, or - for standard input."
        ),
    ] = None,
    skip_bad_lines: Annotated[
        bool, typer.Option("--skip-bad-lines", help="Send the manifest's good lines all the same.")
    ] = False,
    name: Annotated[
        str,
        typer.Option(help="Names of the outputs, from {parent}, {stem}, {suffix}, {name}, {ext}."),
    ] = DEFAULT_NAME,
    include: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Only these, such as *.jpg or a/**; may be repeated."),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Not these; may be repeated.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            help="Only what changed since: 2026-11-01, 2026-11-01T12:00Z, 7d, 12h, 30min."
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Send this many at most.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Do everything again.")] = False,
    changed_options: Annotated[
        bool,
        typer.Option(
            "--changed-options", help="Do again what was made with another model or other options."
        ),
    ] = False,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Try again what was found to be no readable image."),
    ] = False,
    window: Annotated[
        int, typer.Option(min=1, max=100_000, help="Jobs in the queue at most.")
    ] = 2000,
    run_dry: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Go on in the background; `cutwork follow` shows it.")
    ] = False,
    report_to: Annotated[
        str,
        typer.Option(
            "--report", metavar="PLACE", help="Folder or s3://bucket/prefix for the run's report."
        ),
    ] = REPORTS,
    as_json: AsJson = False,
    *,
    options: Options,
) -> None:
    """Cut out every photograph under a prefix that has no cut-out yet; run again, it goes on.

    Exits with 1 if something failed or the run was cancelled, with 130 when interrupted.
    """
    if detach and manifest == "-":
        refuse("--detach cannot read standard input: save the manifest as a file or an object")
    with open_client() as client, ExitStack() as held:
        try:
            lines = (
                held.enter_context(open_manifest(manifest, s3=listing_client)) if manifest else None
            )
            spec = _spec(
                manifest_sha256=lines and lines.sha256,
                source=source,
                image=image,
                mask=mask,
                manifest=manifest,
                name=name,
                options=options.model_copy(update={"if_exists": "overwrite"}) if force else options,
                include=tuple(include or ()),
                exclude=tuple(exclude or ()),
                since=since_time(since, now=time.time()) if since else None,
                since_given=since,
                limit=limit,
                force=force,
                changed_options=changed_options,
                retry_failed=retry_failed,
                skip_bad_lines=skip_bad_lines,
            )
            if lines is None:
                check_places(spec)
        except ValueError as error:
            refuse(str(error))
        try:
            if lines:
                _check(lines, skip=skip_bad_lines)
            run = None if run_dry else client.runs.unfinished(spec)
            if run:
                spec = client.runs.resume(run)
            plan = manifest_steps(lines) if lines else listing_steps(spec, listing_client())
            if run_dry:
                _show_dry_run(client, spec, plan, as_json=as_json)
            elif detach:
                _detach(client, spec, run, as_json=as_json)
            else:
                _sync(client, spec, run, plan, window=window, report_to=report_to, as_json=as_json)
        except (ListingFailed, ManifestError, SettingsError, UnknownRun) as error:
            refuse(str(error))
        except (redis.RedisError, KombuError) as error:
            unreachable(client, error)


def _spec(**asked: Any) -> RunSpec:
    """What was asked, if it is one thing; `ValueError` says what is missing or too much."""
    places = [asked[name] for name in ("source", "image", "mask")]
    if asked["manifest"] and any(places):
        raise ValueError("--manifest names every source and output: leave IN, OUT and --mask away")
    if not asked["manifest"] and not asked["source"]:
        raise ValueError(
            "expected IN, s3://bucket/prefix of the photographs, and OUT or --mask; or --manifest"
        )
    return RunSpec.model_validate(asked)


def _sync(
    client: Client,
    spec: RunSpec,
    run: str | None,
    plan: Plan,
    *,
    window: int,
    report_to: str,
    as_json: bool,
) -> None:
    seen = view(as_json=as_json)
    feeder = Feeder(
        spec=spec,
        plan=plan,
        app=client.app,
        ledger=client.runs,
        window=window,
        command=shlex.join(["cutwork", *sys.argv[1:]]),
        heard=seen.say,
        run=run,
    )
    with seen:
        if run:
            seen.say(f"run {run} goes on")
        record = _fed(client, feeder, seen)
    if record is None:
        _nothing_to_do(feeder, as_json=as_json)
        return
    if not as_json:
        show_ending(record)
    if record.state == "running":
        console.print(f"run it again to go on, or stop it: cutwork cancel {record.id}")
        raise typer.Exit(130)
    write_report(client.runs.record(record.id), report_to, quiet=as_json)
    failed = record.counts.failed + record.counts.conflicting
    raise typer.Exit(1 if failed or record.state == "cancelled" else 0)


def _fed(client: Client, feeder: Feeder, seen: View) -> RunRecord | None:
    """Feed a run to its end; while another process does, watch. None: there was nothing to send."""
    while True:
        try:
            return _fed_here(client, feeder, seen)
        except Taken as error:
            seen.say(f"{error}; following it")
            record = watch(client, error.run, seen, over=partial(_is_unfed, client, error.run))
            if record.state != "running":
                return record
            feeder.run = error.run
            seen.say(f"nothing feeds run {error.run} any more; going on")


def _fed_here(client: Client, feeder: Feeder, seen: View) -> RunRecord | None:
    """Feed in a thread, and watch from this one."""
    feeder.stopping.clear()
    with ThreadPoolExecutor(2) as threads:
        feeding = threads.submit(feeder.feed)
        try:
            while not feeder.run and not feeding.done():
                seen.planned(feeder.planned)
                time.sleep(0.05)
            if feeder.run and not feeding.done():
                threads.submit(look_ahead, feeder)
                watch(client, feeder.run, seen, over=feeding.done)
            feeding.result()
        except KeyboardInterrupt:
            seen.say("interrupted; waiting for the batch in hand")
            feeder.stopping.set()
            feeding.result()
            if not feeder.run:
                raise typer.Exit(130) from None
        finally:
            feeder.stopping.set()
    return client.runs.brief(feeder.run) if feeder.run else None


def _is_unfed(client: Client, run: str) -> bool:
    return client.runs.feeder(run) is None


def _nothing_to_do(feeder: Feeder, *, as_json: bool) -> None:
    counts = feeder.planned
    if as_json:
        typer.echo(json.dumps({"event": "end", "run": None, "counts": counts.model_dump()}))
        return
    known = (
        f", {counts.known:,} known to be unreadable (--retry-failed tries them again)"
        if counts.known
        else ""
    )
    console.print(
        f"nothing to do: of {counts.seen:,} inputs {counts.current:,} are up to date, "
        f"{counts.excluded:,} left out{known}"
    )


def _check(manifest: Manifest, *, skip: bool) -> None:
    """Name every bad line; without `skip` they end the command before anything is sent."""
    bad = 0
    for line in manifest.check():
        bad += 1
        if bad <= _BAD_LINES_SHOWN or not skip:
            console.print(f"[red]line {line.number}[/]: {shown(line.reason)}")
    if bad and not skip:
        refuse(
            f"the manifest has {bad:,} bad lines, and nothing was sent: mend them, or send the "
            "others with --skip-bad-lines"
        )
    if bad:
        console.print(f"{bad:,} bad lines skipped")


def _show_dry_run(client: Client, spec: RunSpec, plan: Plan, *, as_json: bool) -> None:
    known = (lambda _: set[str]()) if spec.retry_failed or spec.force else client.runs.unreadable
    result = dry_run(plan(""), known=known, limit=spec.limit)
    guess = estimate(spec, result.sent, runs=client.runs.runs())
    if as_json:
        typer.echo(json.dumps(result.to_json() | {"estimate": guess and guess._asdict()}))
        return
    for name, text in in_words(result, guess):
        console.print(f"{name:<10} {shown(text)}")


def _detach(client: Client, spec: RunSpec, run: str | None, *, as_json: bool) -> None:
    """Start the same command in a session of its own, and wait until it has begun."""
    arguments = [item for item in sys.argv[1:] if item != "--detach"]
    with tempfile.NamedTemporaryFile(
        mode="w", prefix="cutwork-sync-", suffix=".log", delete=False
    ) as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "producer", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    while child.poll() is None and not (run and client.runs.feeder(run)):
        time.sleep(0.1)
        run = run or client.runs.unfinished(spec)
    if child.returncode is not None:
        # Over already: nothing to do, a quick run, or a refusal.
        typer.echo(Path(log.name).read_text(), nl=False)
        Path(log.name).unlink()
        raise typer.Exit(child.returncode)
    if as_json:
        typer.echo(json.dumps({"run": run, "log": log.name, "pid": child.pid}))
    else:
        console.print(f"run {run} goes on in the background, process {child.pid}, log {log.name}")
        console.print(f"cutwork follow {run} shows it, cutwork cancel {run} stops it")
