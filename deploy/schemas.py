"""`python -m deploy.schemas`: the contract as JSON Schemas, for producers in other languages.

A schema cannot say everything that the contract checks: what passes may still be refused, as
`malformed_message` with a sentence. It asks for two things more than a worker does, see below.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from producer.contract.job import Job
from producer.contract.outcome import Outcome

DOCS: Final = Path(__file__).parents[1] / "docs"
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> Mapping[str, dict[str, Any]]:
    """The schemas by the names of their files in `docs/`."""
    job = Job.model_json_schema()
    # Defaults of our own producer. Without an id that its sender knows, nobody finds the outcome.
    job["required"] = sorted({*job["required"], "id", "version"})
    job["anyOf"] = [_named("image"), _named("mask")]
    return {
        "job.schema.json": {"$schema": _DIALECT, **job},
        "outcome.schema.json": {"$schema": _DIALECT, **Outcome.model_json_schema()},
    }


def text(schema: Mapping[str, Any]) -> str:
    """A schema as it lies in its file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _named(field: str) -> dict[str, Any]:
    return {"required": [field], "properties": {field: {"type": "string"}}}


def main() -> None:
    """Write the schemas anew."""
    for name, schema in schemas().items():
        (DOCS / name).write_text(text(schema))


if __name__ == "__main__":
    main()
