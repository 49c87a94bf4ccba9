"""Cut out a local file, fetch models, or check this machine, without a broker or S3."""

import json
import os
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from producer.config.settings import SettingsError
from producer.console.findings import safe_text, show
from producer.console.option_flags import takes_options
from producer.contract.options import Options
from worker.cli import models as cli_models
from worker.cli.compile import KERNELS, compile_kernels
from worker.cli.doctor import run_checks
from worker.cli.progress_bar import download_bar
from worker.config.settings import ModelSettings
from worker.errors import CutworkError, StageTimeout
from worker.imaging.encode import FORMATS
from worker.models.activity import Hang
from worker.models.watchdog import Watchdog
from worker.observability.stage_chart import format_stages, stage_chart
from worker.observability.stopwatch import Stopwatch
from worker.pipeline.cutout import CutOut, cut_out
from worker.pipeline.factory import open_limits, open_models, open_store, open_watchdog
from worker.pipeline.recipe import Recipe

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # Rich tables would truncate the names of options.
    help=__doc__,
)
app.add_typer(cli_models.app, name="models")
console = Console(stderr=True, highlight=False, soft_wrap=True)


@app.command()
@takes_options
def segment(
    source: Annotated[Path, typer.Argument(metavar="IN", help="The image to read.")],
    image: Annotated[
        Path | None, typer.Argument(metavar="OUT", help="File for the RGBA cut-out.")
    ] = None,
    mask: Annotated[Path | None, typer.Option("--mask", help="File for the mask.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON on standard output.")
    ] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Print a chart of the time of each stage.")
    ] = False,
    *,
    options: Options,
) -> None:
    """Cut out one local file.

    The model may also be the path of a model file.
    """
    if image is None and mask is None:
        raise typer.BadParameter("expected OUT, --mask, or both")
    paths = [path.resolve() for path in (source, image, mask) if path is not None]
    if len(set(paths)) < len(paths):
        raise typer.BadParameter("IN, OUT and --mask must be three different files")
    if not source.is_file():
        raise typer.BadParameter(f"IN: expected an image file, found none at {source}")
    for path, image_format in ((image, options.image_format), (mask, options.mask_format)):
        if path is not None:
            _check_output(path, image_format)
    try:
        settings = ModelSettings.read()
        watchdog = open_watchdog(settings, end=_end_command)
        with watchdog.job(source.name) as limit:
            watch = Stopwatch(limit=limit)
            cutout = _cut_out(source, image, mask, options, settings, watchdog, watch)
    except CutworkError as error:
        _refuse(f"{error.code}: {error}")
    except SettingsError as error:
        _refuse(str(error))
    except OSError as error:
        place = error.filename or "IN, OUT or --mask"
        _refuse(f"{place} cannot be read or written: {error.strerror or error}")
    facts = cutout.facts()
    if as_json:
        printed = {"source": cutout.source_facts(), **facts, "seconds": watch.seconds()}
        typer.echo(json.dumps(printed))
        return
    for warning in cutout.warnings:
        console.print(f"[yellow]warning[/]: {safe_text(warning)}")
    run = cutout.run
    engine = f"{run.engine} on {run.device}, {run.dtype}" if run else "no model"
    seconds = watch.seconds()
    stages = "" if profile else f"; {format_stages(seconds)}"
    console.print(f"foreground {facts['foreground_share']:.1%}; {safe_text(engine)}{stages}")
    if profile:
        console.print(stage_chart(seconds))


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check the settings, model cache and devices of this machine."""
    findings = list(run_checks())
    if as_json:
        typer.echo(json.dumps([finding.to_json() for finding in findings]))
    else:
        show(findings, console)
    raise typer.Exit(0 if all(finding.passed for finding in findings) else 1)


@app.command(name="compile")
def compile_() -> None:
    """Compile all numba kernels ahead of time."""
    for name, compile_group in KERNELS.items():
        console.print(f"compiling kernels: {name} …", highlight=False)
        compile_group()


def _cut_out(
    source: Path,
    image: Path | None,
    mask: Path | None,
    options: Options,
    settings: ModelSettings,
    watchdog: Watchdog,
    watch: Stopwatch,
) -> CutOut:
    """Process one file, write the outputs and return what was made."""
    with download_bar(console) as progress:
        store = open_store(settings, local_paths=True, progress=progress)
        with watch.stage("load"):
            sha256, enabled = options.model_sha256, options.enabled
            file = store.resolve(options.model, sha256=sha256) if enabled else None
        if enabled:
            with watch.stage("kernels"):
                compile_kernels()
    limits = open_limits(settings)
    recipe = Recipe.resolve(
        options, file=file, want_image=image is not None, want_mask=mask is not None
    )
    with source.open("rb") as source_file, limits.image_memory.reserve() as reservation:
        cutout = cut_out(
            source_file,
            recipe,
            length=source.stat().st_size,
            models=open_models(settings, store, watchdog=watchdog),
            limits=limits,
            reservation=reservation,
            watch=watch,
        )
    with watch.stage("store"):
        if mask is not None and cutout.mask_bytes is not None:
            mask.write_bytes(cutout.mask_bytes)
        if image is not None and cutout.image_bytes is not None:
            image.write_bytes(cutout.image_bytes)
    return cutout


def _end_command(hang: Hang) -> NoReturn:
    """End this process with an error in place of the thread that hangs, which may hold locks."""
    code = "" if hang.is_call else f"{StageTimeout.code}: "
    sentence = f"\nerror: {code}{safe_text(hang.reason)}\n"
    os.write(2, sentence.encode())
    os._exit(1)


def _check_output(path: Path, image_format: str) -> None:
    """Check, before the model runs, that the folder exists and the suffix fits the format."""
    if not path.parent.is_dir():
        raise typer.BadParameter(f"{path.parent} is not a folder")
    suffixes = FORMATS[image_format].suffixes
    if path.suffix.lower() not in suffixes:
        raise typer.BadParameter(
            f"{path.name} would hold {image_format}: expected a name ending in "
            f"{' or '.join(suffixes)}, or another --image-format or --mask-format"
        )


def _refuse(sentence: str) -> NoReturn:
    console.print(f"[red]error[/]: {safe_text(sentence)}")
    raise typer.Exit(1)
