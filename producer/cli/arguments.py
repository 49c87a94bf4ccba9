"""Arguments and options that several commands have."""

from typing import Annotated, Final

import typer

REPORTS: Final = "cutwork-runs"
"""Default folder for reports."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="The run's id, as `cutwork runs` prints it.")
]
