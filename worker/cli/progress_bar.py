"""A progress bar for model downloads."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
from rich.progress import Progress as Bar
from rich.table import Column

from worker.models.files.download import Progress


@contextmanager
def download_bar(console: Console) -> Iterator[Progress]:
    """Yield a progress callback for `ModelStore`; the bar appears with the first bytes."""
    columns = (
        TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis")),
        BarColumn(bar_width=20),
        DownloadColumn(table_column=Column(no_wrap=True)),
        TransferSpeedColumn(table_column=Column(no_wrap=True)),
    )
    with Bar(*columns, console=console) as bar:
        task = bar.add_task("", visible=False)

        def show(source: str, done: int, total: int | None) -> None:
            bar.update(task, description=source, completed=done, total=total, visible=True)

        yield show
