"""The settings and times of a run, as a list of labelled facts."""

import shlex
from collections.abc import Iterator
from typing import NamedTuple

from producer.console.humanize import count, duration, timestamp
from producer.console.option_flags import to_flags
from producer.contract.options import Options
from producer.contract.run import DEFAULT_NAME, RunRecord, RunSpec
from producer.report.run_figures import figures


class Fact(NamedTuple):
    """One labelled line of the summary."""

    label: str
    values: list[str]
    """Untrusted text: escape it."""


def run_facts(record: RunRecord) -> list[Fact]:
    """Return sources, destinations, options and times; defaults are left out, except the model."""
    return [
        fact
        for fact in (*_locations(record.spec), *_settings(record), *_times(record))
        if fact.values
    ]


def retry_command(record: RunRecord, failures: str) -> str:
    """Return the command that retries a run's failures with the run's options."""
    return shlex.join(["cutwork", "sync", "--manifest", failures, *to_flags(record.spec.options)])


def _locations(spec: RunSpec) -> Iterator[Fact]:
    yield Fact("From", [spec.source or f"manifest {spec.manifest}"])
    yield Fact("Cut-outs to", [spec.image] if spec.image else [])
    yield Fact("Masks to", [spec.mask] if spec.mask else [])
    yield Fact("Named", [spec.name] if spec.name != DEFAULT_NAME else [])


def _settings(record: RunRecord) -> Iterator[Fact]:
    spec = record.spec
    yield Fact("Model", [spec.options.model])
    runs = (outcome.run for outcome in (*record.sample, *record.slowest, *record.suspicious))
    devices = [f"{run.device}, {run.engine}, {run.dtype}" for run in runs if run]
    yield Fact("Ran on", list(dict.fromkeys(devices))[:4])
    chosen = spec.options.model_dump(exclude={"model"}, mode="json")
    default = Options().model_dump(exclude={"model"}, mode="json")
    options = [
        f"{name.replace('_', '-')} {_value_text(value)}"
        for name, value in chosen.items()
        if value != default[name]
    ]
    yield Fact("Options", options)
    yield Fact("Only", list(spec.include))
    yield Fact("Except", list(spec.exclude))
    yield Fact("Newer than", [timestamp(spec.since)] if spec.since is not None else [])
    flags = ("force", "changed_options", "retry_failed", "skip_bad_lines")
    given_flags = [f"--{name.replace('_', '-')}" for name in flags if getattr(spec, name)]
    given_flags += [f"--limit {spec.limit}"] if spec.limit is not None else []
    yield Fact("Flags", given_flags)


def _times(record: RunRecord) -> Iterator[Fact]:
    run_figures = figures(record)
    end = record.finished_at
    yield Fact("Started", [timestamp(record.created_at)])
    yield Fact("Ended", [timestamp(end)] if end is not None else [])
    pauses = [f"{duration(run_figures.pause_seconds)} in all"] if run_figures.pause_seconds else []
    yield Fact("Pauses", pauses)
    times = "once" if record.resumed == 1 else f"{count(record.resumed)} times"
    yield Fact("Resumed", [times] if record.resumed else [])


def _value_text(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
