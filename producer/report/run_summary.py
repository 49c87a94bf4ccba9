"""What a run was asked and how it went, as a list of facts."""

import shlex
from collections.abc import Iterator
from typing import NamedTuple

from producer.console.humanize import count, duration, timestamp
from producer.console.option_flags import to_flags
from producer.contract.options import Options
from producer.contract.run import DEFAULT_NAME, RunRecord, RunSpec
from producer.report.run_figures import figures


class Asked(NamedTuple):
    """One line of the facts."""

    what: str
    values: list[str]
    """A stranger's text among them."""


def asked(record: RunRecord) -> list[Asked]:
    """From where to where, with what, when; what is as by default is left out, but the model."""
    return [fact for fact in (*_places(record.spec), *_how(record), *_when(record)) if fact.values]


def again(record: RunRecord, failures: str) -> str:
    """The command that tries a run's failures again, as they were asked for."""
    return shlex.join(["cutwork", "sync", "--manifest", failures, *to_flags(record.spec.options)])


def _places(spec: RunSpec) -> Iterator[Asked]:
    yield Asked("From", [spec.source or f"manifest {spec.manifest}"])
    yield Asked("Cut-outs to", [spec.image] if spec.image else [])
    yield Asked("Masks to", [spec.mask] if spec.mask else [])
    yield Asked("Named", [spec.name] if spec.name != DEFAULT_NAME else [])


def _how(record: RunRecord) -> Iterator[Asked]:
    spec = record.spec
    yield Asked("Model", [spec.options.model])
    ran = (one.run for one in (*record.sample, *record.slowest, *record.suspicious))
    where = [f"{run.device}, {run.engine}, {run.dtype}" for run in ran if run]
    yield Asked("Ran on", list(dict.fromkeys(where))[:4])
    chosen = spec.options.model_dump(exclude={"model"}, mode="json")
    default = Options().model_dump(exclude={"model"}, mode="json")
    options = [
        f"{name.replace('_', '-')} {_word(value)}"
        for name, value in chosen.items()
        if value != default[name]
    ]
    yield Asked("Options", options)
    yield Asked("Only", list(spec.include))
    yield Asked("Except", list(spec.exclude))
    yield Asked("Newer than", [timestamp(spec.since)] if spec.since is not None else [])
    flags = ("force", "changed_options", "retry_failed", "skip_bad_lines")
    orders = [f"--{name.replace('_', '-')}" for name in flags if getattr(spec, name)]
    orders += [f"--limit {spec.limit}"] if spec.limit is not None else []
    yield Asked("Flags", orders)


def _when(record: RunRecord) -> Iterator[Asked]:
    found = figures(record)
    end = record.finished_at
    yield Asked("Started", [timestamp(record.created_at)])
    yield Asked("Ended", [timestamp(end)] if end is not None else [])
    pauses = [f"{duration(found.pause_seconds)} in all"] if found.pause_seconds else []
    yield Asked("Pauses", pauses)
    times = "once" if record.resumed == 1 else f"{count(record.resumed)} times"
    yield Asked("Taken up again", [times] if record.resumed else [])


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
