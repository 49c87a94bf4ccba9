"""The metrics of workers and of the exporter."""

from prometheus_client.metrics import MetricWrapperBase

from deploy.reference.markdown import code, table
from producer.cli.exporter.metrics import METRICS as EXPORTER_METRICS
from worker.observability.gpu_metrics import METRICS as GPU_METRICS
from worker.observability.metrics import Metrics


def worker_metrics() -> str:
    """Return the table of what a worker serves on `/metrics`."""
    metrics = Metrics()
    metrics.add_gauges(
        running=lambda: 0, stopping=lambda: False, image_memory=lambda: 0, image_memory_limit=0
    )
    metrics.add_info(version="", device="", queues="")
    labels = {"cutwork_worker": ("version", "device", "queues")}
    for item in vars(metrics).values():
        if isinstance(item, MetricWrapperBase):
            # prometheus_client has no public way to ask a metric for its labels.
            labels[item._name] = tuple(item._labelnames)
    rows = [
        (
            code(family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")),
            family.documentation,
            family.type,
            ", ".join(map(code, labels.get(family.name, ()))),
        )
        for family in metrics.registry.collect()
        if family.name.startswith("cutwork_")
    ]
    rows += [(code(name), meaning, "gauge", "`gpu`") for name, meaning in GPU_METRICS.items()]
    return table(("metric", "meaning", "type", "labels"), sorted(rows))


def exporter_metrics() -> str:
    """Return the table of what `cutwork exporter` serves; every metric is a gauge."""
    rows = (
        (code(item.name), item.about, ", ".join(map(code, item.labels)))
        for item in EXPORTER_METRICS
    )
    return table(("metric", "meaning", "labels"), rows)
