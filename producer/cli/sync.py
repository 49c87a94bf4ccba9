"""The command about whole buckets: `sync`."""

import json
import shlex
import sys
import time
from contextlib import ExitStack
from typing import Annotated

import redis
import typer
from kombu.exceptions import KombuError

from producer.cli.detach import detach
from producer.cli.feed import feed_and_report
from producer.cli.run_view import View, view
from producer.cli.runs import REPORTS, check_report_place
from producer.cli.terminal import AsJson, console, errors, open_client, refuse, unreachable, warn
from producer.client import Client
from producer.config.settings import SettingsError
from producer.console.findings import safe_text
from producer.console.option_flags import takes_options
from producer.contract.options import Options
from producer.contract.run import DEFAULT_NAME, RunSpec
from producer.contract.s3_prefix import S3Prefix
from producer.store.runs import UnknownRun
from producer.store.unreadable import UnreadableRun
from producer.sync.feeder import Feeder
from producer.sync.listing.objects import ListingFailed, listing_client
from producer.sync.manifest.manifest import Manifest, ManifestError, open_manifest
from producer.sync.plan.compare import check_layout
from producer.sync.plan.dry_run import dry_run, estimate, summary_lines
from producer.sync.plan.since import since_time
from producer.sync.plan.steps import Plan, listing_steps, manifest_steps


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
        int | None,
        typer.Option(
            min=1,
            max=100_000,
            help="Jobs in the queue at most. None: 2000, more where workers run dry.",
        ),
    ] = None,
    run_dry: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    detach_it: Annotated[
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
    if detach_it and manifest == "-":
        refuse("--detach cannot read standard input: save the manifest as a file or an object")
    seen = view(as_json=as_json)
    with open_client() as client, ExitStack() as held:
        try:
            if not run_dry:
                check_report_place(report_to)
            lines = None
            if manifest:
                lines = held.enter_context(open_manifest(manifest, s3=listing_client))
            spec = RunSpec(
                source=source and str(S3Prefix.parse(source)),
                manifest=manifest,
                manifest_sha256=lines and lines.sha256,
                image=image and str(S3Prefix.parse(image)),
                mask=mask and str(S3Prefix.parse(mask)),
                name=name,
                options=options.model_copy(update={"if_exists": "overwrite"}) if force else options,
                include=tuple(sorted(set(include or ()))),
                exclude=tuple(sorted(set(exclude or ()))),
                since=since_time(since, now=time.time()) if since else None,
                since_given=since,
                limit=limit,
                force=force,
                changed_options=changed_options,
                retry_failed=retry_failed,
                skip_bad_lines=skip_bad_lines,
            )
            _check_kind(spec)
        except ValueError as error:
            refuse(str(error))
        try:
            if lines:
                _check_lines(lines, skip=skip_bad_lines)
            run = client.runs.find_unfinished(spec)
            if run:
                spec = client.runs.spec(run)  # With the moment that `--since 7d` meant then.
            plan = manifest_steps(lines) if lines else listing_steps(spec, listing_client())
            if run_dry:
                _show_dry_run(client, spec, plan, as_json=as_json)
                return
            _say_who_else_writes(client, spec, seen)
            if detach_it:
                detach(client, spec, run, as_json=as_json)
                return
            feeder = Feeder(
                tenant=client.tenant,
                spec=spec,
                plan=plan,
                app=client.app,
                ledger=client.runs,
                window=window,
                command=shlex.join(["cutwork", *sys.argv[1:]]),
                events=seen,
                run=run,
            )
            feed_and_report(client, feeder, seen, report_to=report_to)
        except (ListingFailed, ManifestError, SettingsError, UnknownRun, UnreadableRun) as error:
            refuse(str(error))
        except (redis.RedisError, KombuError) as error:
            unreachable(client, error)


def _check_kind(spec: RunSpec) -> None:
    """`ValueError` unless this is one of the two kinds: places, or a manifest that has them all."""
    if not spec.manifest:
        if spec.skip_bad_lines:
            raise ValueError("--skip-bad-lines: expected a --manifest with it, found none")
        check_layout(spec)
        return
    untouched = RunSpec.model_validate(
        spec.model_dump(
            include={
                *("manifest", "manifest_sha256", "options", "limit", "force", "skip_bad_lines"),
            }
        )
    )
    alien = [
        name.replace("_", "-")
        for name, value in spec
        if name != "since" and value != getattr(untouched, name)
    ]
    if alien:
        names = {"source": "IN", "image": "OUT", "since-given": "--since"}
        raise ValueError(
            "--manifest names every source and output; leave away "
            + ", ".join(names.get(name, f"--{name}") for name in alien)
        )


def _say_who_else_writes(client: Client, spec: RunSpec, seen: View) -> None:
    """Name the unfinished runs of another kind into the same places: the last to write wins."""
    mine = {place for place in (spec.image, spec.mask) if place}
    for record in client.runs.runs():
        theirs = {record.spec.image, record.spec.mask}
        same_sync = record.spec.digest() == spec.digest()
        if record.state == "running" and not same_sync and mine & theirs:
            seen.notice(
                f"run {record.id} writes to the same place and is not finished; "
                f"`cutwork cancel {record.id}` ends it"
            )


def _check_lines(manifest: Manifest, *, skip: bool) -> None:
    """Name every bad line; without `skip` they end the command before anything is sent."""
    bad = 0
    for line in manifest.check():
        bad += 1
        errors.print(f"[red]line {line.number}[/]: {safe_text(line.reason)}")
    if bad and not skip:
        refuse(
            f"the manifest has {bad:,} bad lines, and nothing was sent: mend them, or send the "
            "others with --skip-bad-lines"
        )
    if bad:
        warn(f"{bad:,} bad lines skipped")


def _show_dry_run(client: Client, spec: RunSpec, plan: Plan, *, as_json: bool) -> None:
    known = (
        (lambda _: set[str]()) if spec.retry_failed or spec.force else client.runs.find_unreadable
    )
    result = dry_run(plan(""), known=known, limit=spec.limit)
    guess = estimate(spec, result.sent, runs=client.runs.runs())
    if as_json:
        typer.echo(json.dumps(result.to_json() | {"estimate": guess and guess._asdict()}))
        return
    for name, text in summary_lines(result, guess):
        console.print(f"{name:<10} {safe_text(text)}")
