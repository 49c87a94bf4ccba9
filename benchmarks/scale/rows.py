"""The results of a trial as table rows."""

from benchmarks.scale.trial import Result
from benchmarks.table import Row


def rows(result: Result) -> list[Row]:
    """Return the rows, with whether each bound is met."""
    setting, done = result.setting, result.done
    jobs, largest = setting.jobs, max(sample.ready for sample in result.samples)
    last = result.samples[-1]
    at_zero = last.ready == last.wanted == 0
    signals = last.signals
    remaining = signals and (signals.waiting, signals.in_flight, signals.pending)
    repeated = result.model_runs - jobs
    rates = [sample.signals.rate for sample in result.samples if sample.signals]
    true_rate = 1 / setting.image_seconds
    table = [
        Row(
            "jobs, good outcomes, outputs",
            f"{jobs:,}, {len(done):,}, {result.outputs:,}",
            "all the same",
            jobs == len(done) == result.outputs,
        ),
        Row("lost", str(result.lost), "0", result.lost == 0),
        Row(
            "left at the end: waiting, in flight, pending",
            "unknown" if remaining is None else ", ".join(map(str, remaining)),
            "0, 0, 0",
            remaining == (0, 0, 0),
        ),
        Row(
            "workers: at the start, maximum, at the end",
            f"{result.samples[0].ready}, {largest}, {last.ready}",
            f"0, {setting.policy.max_workers}, 0",
            at_zero and result.samples[0].ready == 0 and largest == setting.policy.max_workers,
        ),
        Row(
            "machines pre-empted, of which killed before they had shut down",
            f"{len(result.preempted)}, {result.killed}",
            "≥ 1",
            bool(result.preempted),
        ),
        Row("images processed twice", f"{repeated} ({repeated / jobs:.1%})", "", None),
    ]
    if not done:
        return table
    use = jobs * setting.image_seconds / result.machine_seconds
    empty_at = next(
        (sample.at for sample in result.samples if sample.at > done[-1] and not sample.wanted), 0
    )
    return [
        *table,
        Row("empty pool to first result", f"{done[0] - result.burst_at:.1f} s", "", None),
        Row("burst to last result", f"{done[-1] - result.burst_at:.0f} s", "", None),
        Row("last result to empty pool", f"{empty_at - done[-1]:.0f} s", "", None),
        Row("processing time of the images ÷ machine time", f"{use:.0%}", "", None),
        Row(
            "throughput of a worker as measured; as it is",
            f"{rates[-1]:.2f}; {true_rate:.2f} images/s",
            "× or ÷ 1.5",
            true_rate / 1.5 < rates[-1] < true_rate * 1.5,
        ),
    ]
