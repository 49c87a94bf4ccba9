"""`python -m worker models`: list the catalogue, and fetch models ahead of time."""

import json
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from producer.config.settings import SettingsError
from producer.console.findings import safe_text
from worker.cli.progress_bar import download_bar
from worker.config.settings import ModelSettings
from worker.errors import CutworkError, ModelInvalid
from worker.models.engines.load import gpu_unavailable_reason, prepare_for_devices
from worker.models.files.catalogue import CatalogueEntry, catalogue
from worker.models.files.store import ModelStore
from worker.pipeline.factory import open_file_cache, open_store

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


@app.callback(invoke_without_command=True)
def models(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")] = False,
) -> None:
    """List the models of the catalogue.

    Shows each model's licence and size, whether it is cached, and where it would run here.
    """
    if context.invoked_subcommand is not None:
        return
    try:
        store = open_store(ModelSettings.read())
    except SettingsError as error:
        _refuse(str(error))
    rows = [_facts(name, entry, store) for name, entry in catalogue().items()]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("model", no_wrap=True, overflow="fold")
    table.add_column("licence", overflow="fold")
    table.add_column("MB", justify="right", no_wrap=True, overflow="fold")
    table.add_column("cached", no_wrap=True, overflow="fold")
    table.add_column("runs on", overflow="fold")
    for row in rows:
        size = "?" if row["bytes"] is None else f"{row['bytes'] / 1e6:.0f}"
        mark = "" if row["accepted"] else " *"
        cached = "yes" if row["cached"] else "no"
        table.add_row(row["name"], row["licence"] + mark, size, cached, row["runs_on"])
    console.print(table)
    if not all(row["accepted"] for row in rows):
        console.print(
            "* restricts the use; to accept the licence, add its id to CUTWORK_ACCEPT_LICENSES"
        )


@app.command()
def fetch(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME", help="Names of models in the catalogue.")
    ],
) -> None:
    """Fetch, verify and prepare models ahead of time."""
    try:
        settings = ModelSettings.read()
        with download_bar(errors) as progress:
            store = open_store(settings, progress=progress)
            files = [store.resolve(name) for name in names]
        for file in files:
            prepare_for_devices(file, open_file_cache(settings))
            errors.print(f"{file.name}: {safe_text(str(file.path))}")
    except CutworkError as error:
        _refuse(f"{error.code}: {error}")
    except SettingsError as error:
        _refuse(str(error))


def _facts(name: str, entry: CatalogueEntry, store: ModelStore) -> dict[str, Any]:
    return {
        "name": name,
        "licence": entry.licence,
        "restricted": entry.restricted,
        "accepted": store.is_licence_accepted(entry),
        "bytes": entry.bytes,
        "cached": store.is_cached(entry),
        "runs_on": _runs_on(Path(entry.file).suffix),
        "about": entry.about,
    }


def _runs_on(suffix: str) -> str:
    try:
        return "cuda" if gpu_unavailable_reason(suffix) is None else "cpu"
    except ModelInvalid:
        return "needs cutwork[torch]"


def _refuse(sentence: str) -> NoReturn:
    errors.print(f"[red]error[/]: {safe_text(sentence)}")
    raise typer.Exit(1)
