"""The contract as JSON Schemas, for producers in other languages. `make reference` writes them.

A schema cannot express everything that the contract checks: a worker may still refuse a valid
message as `malformed_message`. The schema of a job requires two fields that a worker does not.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from producer.contract.job import Job
from producer.contract.outcome import Outcome

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> Mapping[str, dict[str, Any]]:
    """Return the schemas by the names of their files in `docs/reference/`."""
    job = Job.model_json_schema()
    # These have defaults in `producer`. A sender that does not know the id cannot find the outcome.
    job["required"] = sorted({*job["required"], "id", "version"})
    job["anyOf"] = [_named("image"), _named("mask")]
    return {
        "job.schema.json": {"$schema": _DIALECT, **job},
        "outcome.schema.json": {"$schema": _DIALECT, **Outcome.model_json_schema()},
    }


def text(schema: Mapping[str, Any]) -> str:
    """Return a schema as the text of its file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _named(field: str) -> dict[str, Any]:
    return {"required": [field], "properties": {field: {"type": "string"}}}
