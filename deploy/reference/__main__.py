"""`python -m deploy.reference`: write the generated parts of `docs/`.

These are the JSON Schemas of job and outcome (`deploy/schemas.py`), and in each Markdown page the
lines between `<!-- generated: NAME -->` and `<!-- end -->`. Pages are committed, so that they can
be read without building the site; a test compares them with what this module writes.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from benchmarks.fleet.__main__ import table_of
from benchmarks.fleet.parameters import Parameters
from deploy.reference.alerts import alerts
from deploy.reference.codes import error_codes
from deploy.reference.command_line import commands
from deploy.reference.metrics import exporter_metrics, worker_metrics
from deploy.reference.models import models, profile
from deploy.reference.python_api import classes, exceptions, outcome
from deploy.reference.settings import (
    model_variables,
    options,
    shared_variables,
    worker_variables,
)
from deploy.schemas import schemas, text

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
BLOCKS: Final[Mapping[str, Callable[[], str]]] = {
    "alerts": alerts,
    "commands": commands,
    "error-codes": error_codes,
    "example-django": lambda: _example("django_app.py"),
    "example-fastapi": lambda: _example("fastapi_app.py"),
    "exporter-metrics": exporter_metrics,
    "fleet-parameters": lambda: table_of(Parameters.measured()),
    "model-variables": model_variables,
    "models": models,
    "options": options,
    "outcome": outcome,
    "profile": profile,
    "python-classes": classes,
    "python-exceptions": exceptions,
    "shared-variables": shared_variables,
    "worker-metrics": worker_metrics,
    "worker-variables": worker_variables,
}
"""Each generated block of Markdown by its name."""
_BLOCK: Final = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def pages() -> Iterator[tuple[Path, str]]:
    """Yield every generated file with the text that it should have.

    Raises `KeyError` for a block that does not exist.
    """
    for name, schema in schemas().items():
        yield DOCS / "reference" / name, text(schema)
    for page in sorted(DOCS.rglob("*.md")):
        before = page.read_text()
        if _BLOCK.search(before):
            yield page, _BLOCK.sub(_generated, before)


def _example(name: str) -> str:
    return f"```python\n{(DOCS / 'how-to' / 'examples' / name).read_text()}```"


def _generated(block: re.Match[str]) -> str:
    return f"{block[1]}\n{BLOCKS[block[2]]().strip()}\n\n{block[3]}"


def main() -> None:
    """Write every generated file that is not up to date, and print its name."""
    for path, content in pages():
        if not path.exists() or path.read_text() != content:
            path.write_text(content)
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
