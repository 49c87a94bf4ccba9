"""`cutwork sync`: process every image under a prefix or in a manifest."""

# The implementation is imported inside the command, so that `--help` stays fast.
from typing import Annotated

import typer

from producer.cli.arguments import REPORTS, AsJson
from producer.console.option_flags import takes_options
from producer.contract.options import Options
from producer.contract.run import DEFAULT_NAME


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
    ignore_case: Annotated[
        bool, typer.Option("--ignore-case", help="Match --include and --exclude in any case.")
    ] = False,
    all_files: Annotated[
        bool,
        typer.Option(
            "--all", help="Process every object, not only those with the suffix of an image."
        ),
    ] = False,
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
    left. Exits with status 1 if images failed or the run was cancelled, 2 if the command is wrong,
    3 if it could not go on, and 130 when interrupted.
    """
    from producer.cli.run_sync import SyncCommand

    SyncCommand(
        source=source,
        image=image,
        mask=mask,
        manifest=manifest,
        filters={
            "name": name,
            "include": tuple(sorted(set(include or ()))),
            "exclude": tuple(sorted(set(exclude or ()))),
            "ignore_case": ignore_case,
            "all_files": all_files,
            "since_given": since,
            "limit": limit,
            "force": force,
            "changed_options": changed_options,
            "check_sources": check_sources,
            "retry_failed": retry_failed,
            "skip_bad_lines": skip_bad_lines,
        },
        options=options,
        window=window,
        is_dry=run_dry,
        is_detached=detach_it,
        report_to=report_to,
        as_json=as_json,
    ).run()
