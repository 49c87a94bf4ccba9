"""`cutwork sync`: process every image under a prefix or in a manifest."""

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
from producer.cli.run_view import RunView, choose_view
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
from producer.store.unreadable_run import UnreadableRun
from producer.sync.feeder import Feeder
from producer.sync.listing.objects import ListingFailed, listing_client, source_listing_client
from producer.sync.manifest.manifest import Manifest, ManifestError, open_manifest
from producer.sync.plan.dry_run import dry_run, estimate, summary_lines
from producer.sync.plan.layout import Layout
from producer.sync.plan.listing_plan import listing_plan
from producer.sync.plan.manifest_plan import manifest_plan
from producer.sync.plan.since import since_time
from producer.sync.plan.step import Plan


@takes_options
def sync(
    source: Annotated[
        str | None, typer.Argument(metavar="IN", help="Source prefix, s3://bucket/prefix.")
    ] = None,
    image: Annotated[
        str | None,
        typer.Argument(metavar="OUT", help="Prefix for the cut-outs, s3://bucket/prefix."),
    ] = None,
    mask: Annotated[
        str | None, typer.Option("--mask", help="Prefix for the masks, s3://bucket/prefix.")
    ] = None,
    manifest: Annotated[
        str | None,
        typer.Option(
            help="A CSV, JSON Lines or Parquet file with source, image and mask, instead of IN "
            "and OUT: a path, an s3:// object, or - for standard input."
        ),
    ] = None,
    skip_bad_lines: Annotated[
        bool,
        typer.Option(
            "--skip-bad-lines", help="Skip invalid manifest lines instead of refusing the manifest."
        ),
    ] = False,
    name: Annotated[
        str,
        typer.Option(help="Template for output names: {parent}, {stem}, {suffix}, {name}, {ext}."),
    ] = DEFAULT_NAME,
    include: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB",
            help="Process only matching keys, such as *.jpg or a/**; may be repeated.",
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Leave out matching keys; may be repeated."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            help="Process only sources modified since: 2026-11-01, 2026-11-01T12:00Z, 7d, "
            "12h, 30min."
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Send at most this many jobs.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Process every source again and overwrite the outputs.")
    ] = False,
    changed_options: Annotated[
        bool,
        typer.Option(
            "--changed-options",
            help="Process sources again if their outputs come from a different model or options.",
        ),
    ] = False,
    check_sources: Annotated[
        bool,
        typer.Option(
            "--check-sources",
            help="Compare each source's ETag with the one that its output was made of, by a "
            "request for each output; finds sources replaced by an object with an older date.",
        ),
    ] = False,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed", help="Retry sources that were found unreadable in an earlier run."
        ),
    ] = False,
    window: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100_000,
            help="Largest number of jobs in flight; by default 2000, more if workers run idle.",
        ),
    ] = None,
    run_dry: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be sent, and send nothing.")
    ] = False,
    detach_it: Annotated[
        bool,
        typer.Option(
            "--detach", help="Continue in the background; show progress with `cutwork follow`."
        ),
    ] = False,
    report_to: Annotated[
        str,
        typer.Option(
            "--report", metavar="PLACE", help="Folder or s3://bucket/prefix for the report."
        ),
    ] = REPORTS,
    as_json: AsJson = False,
    *,
    options: Options,
) -> None:
    """Process every image under a prefix whose outputs are missing or outdated.

    Run the same command again at any time: it resumes an interrupted run and sends only what is
    left. Exits with status 1 if a job failed or the run was cancelled, and 130 when interrupted.
    """
    if detach_it and manifest == "-":
        refuse(
            "--detach cannot read a manifest from standard input; save it as a file or an S3 object"
        )
    view = choose_view(as_json=as_json)
    with open_client() as client, ExitStack() as stack:
        try:
            if not run_dry:
                check_report_place(report_to)
            lines = None
            if manifest:
                lines = stack.enter_context(open_manifest(manifest, s3=listing_client))
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
                check_sources=check_sources,
                retry_failed=retry_failed,
                skip_bad_lines=skip_bad_lines,
            )
            _check_kind(spec)
        except ValueError as error:
            refuse(str(error))
        try:
            if lines:
                _check_lines(lines, skip=skip_bad_lines)
            if run := client.runs.find_unfinished(spec):
                # The stored one has the time that `--since 7d` stood for at the start.
                spec = client.runs.spec(run)
            plan = _open_plan(spec, lines)
            if run_dry:
                _show_dry_run(client, spec, plan, as_json=as_json)
                return
            _warn_of_competing_runs(client, spec, view)
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
                events=view,
                run=run,
            )
            feed_and_report(client, feeder, view, report_to=report_to)
        except (ListingFailed, ManifestError, SettingsError, UnknownRun, UnreadableRun) as error:
            refuse(str(error))
        except (redis.RedisError, KombuError) as error:
            unreachable(client, error)


def _open_plan(spec: RunSpec, lines: Manifest | None) -> Plan:
    if lines:
        return manifest_plan(lines)
    return listing_plan(spec, listing_client(), sources=source_listing_client())


def _check_kind(spec: RunSpec) -> None:
    """Raise `ValueError` unless the run has either prefixes or a manifest, not both."""
    if not spec.manifest:
        if spec.skip_bad_lines:
            raise ValueError("--skip-bad-lines: expected --manifest as well, found none")
        Layout.from_spec(spec)
        return
    allowed = {"manifest", "manifest_sha256", "options", "limit", "force", "skip_bad_lines"}
    misplaced = [
        name.replace("_", "-")
        for name, field in RunSpec.model_fields.items()
        if name not in {"since", *allowed} and getattr(spec, name) != field.default
    ]
    if misplaced:
        names = {"source": "IN", "image": "OUT", "since-given": "--since"}
        raise ValueError(
            "--manifest names every source and destination; leave out "
            + ", ".join(names.get(name, f"--{name}") for name in misplaced)
        )


def _warn_of_competing_runs(client: Client, spec: RunSpec, view: RunView) -> None:
    """Warn about unfinished runs that write to the same prefixes: the last write would win."""
    targets = {prefix for prefix in (spec.image, spec.mask) if prefix}
    for record in client.runs.runs():
        is_other_sync = record.state == "running" and record.spec.digest() != spec.digest()
        if is_other_sync and targets & {record.spec.image, record.spec.mask}:
            view.notice(
                f"run {record.id} writes to the same prefix and is not finished; "
                f"stop it with `cutwork cancel {record.id}`"
            )


def _check_lines(manifest: Manifest, *, skip: bool) -> None:
    """Print every invalid line; unless `skip` is set, any of them ends the command."""
    bad = 0
    for line in manifest.check():
        bad += 1
        errors.print(f"[red]line {line.number}[/]: {safe_text(line.reason)}")
    if bad and not skip:
        advice = "correct them, or skip them with --skip-bad-lines"
        refuse(f"the manifest has {bad:,} invalid lines, and nothing was sent; {advice}")
    if bad:
        warn(f"{bad:,} invalid lines skipped")


def _show_dry_run(client: Client, spec: RunSpec, plan: Plan, *, as_json: bool) -> None:
    result = dry_run(plan(""), spec, find_unreadable=client.runs.find_unreadable)
    guess = estimate(spec, result.sent, runs=client.runs.runs())
    if as_json:
        typer.echo(json.dumps(result.to_json() | {"estimate": guess and guess._asdict()}))
        return
    for name, text in summary_lines(result, guess):
        console.print(f"{name:<10} {safe_text(text)}")
