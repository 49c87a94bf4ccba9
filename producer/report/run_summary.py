"""The settings and times of a run, as a list of labelled facts."""

import shlex

from producer.console.humanize import count, duration, timestamp
from producer.console.option_flags import to_flags
from producer.contract.options import Options
from producer.contract.run import DEFAULT_NAME, RunRecord, RunSpec
from producer.report.run_figures import figures


def run_facts(record: RunRecord) -> list[tuple[str, list[str]]]:
    """Return sources, destinations, options and times as labels and values.

    Leaves out defaults, except the model. The values are untrusted text: escape them.
    """
    spec, pause, end = record.spec, figures(record).pause_seconds, record.finished_at
    runs = (outcome.run for outcome in (*record.sample, *record.slowest, *record.suspicious))
    devices = dict.fromkeys(f"{run.device}, {run.engine}, {run.dtype}" for run in runs if run)
    resumptions = "once" if record.resumed == 1 else f"{count(record.resumed)} times"
    facts = {
        "From": [spec.source or f"manifest {spec.manifest}"],
        "Cut-outs to": [spec.image] if spec.image else [],
        "Masks to": [spec.mask] if spec.mask else [],
        "Named": [spec.name] if spec.name != DEFAULT_NAME else [],
        "Model": [spec.options.model],
        "Ran on": list(devices)[:4],
        "Options": _changed_options(spec.options),
        "Only": list(spec.include),
        "Except": list(spec.exclude),
        "Newer than": [timestamp(spec.since)] if spec.since is not None else [],
        "Flags": _flags(spec),
        "Started": [timestamp(record.created_at)],
        "Ended": [timestamp(end)] if end is not None else [],
        "Pauses": [f"{duration(pause)} in total"] if pause else [],
        "Resumed": [resumptions] if record.resumed else [],
    }
    return [(label, values) for label, values in facts.items() if values]


def retry_command(record: RunRecord, failures: str) -> str:
    """Return the command that retries a run's failures with the run's options."""
    return shlex.join(["cutwork", "sync", "--manifest", failures, *to_flags(record.spec.options)])


def _changed_options(options: Options) -> list[str]:
    default = Options().model_dump(exclude={"model"}, mode="json")
    return [
        f"{name.replace('_', '-')} {_value_text(value)}"
        for name, value in options.model_dump(exclude={"model"}, mode="json").items()
        if value != default[name]
    ]


def _flags(spec: RunSpec) -> list[str]:
    names = (
        *("ignore_case", "all_files", "force", "changed_options", "check_sources"),
        *("retry_failed", "skip_bad_lines"),
    )
    given = [name for name in names if getattr(spec, name)]
    flags = [f"--{'all' if name == 'all_files' else name.replace('_', '-')}" for name in given]
    return flags if spec.limit is None else [*flags, f"--limit {spec.limit}"]


def _value_text(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
