"""Metrics of the GPUs that this process sees, read from NVML at each scrape."""

from collections.abc import Iterable, Iterator
from typing import Final

import pynvml
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

METRICS: Final = {
    "cutwork_gpu_memory_bytes": "Bytes of GPU memory in use by all processes.",
    "cutwork_gpu_memory_limit_bytes": "Bytes of memory that the GPU has.",
    "cutwork_gpu_utilisation_ratio": "Share of recent time in which the GPU was busy, 0 to 1.",
}


class GpuMetrics(Collector):
    """A collector that queries the driver; a value that the driver does not give is left out."""

    def __init__(self, buses: Iterable[str]) -> None:
        """`buses`: PCI bus ids of the devices, in CUDA's order."""
        self._buses = tuple(buses)

    def collect(self) -> Iterator[Metric]:
        """Yield each gauge with one sample per GPU."""
        families = {
            name: GaugeMetricFamily(name, text, labels=["gpu"]) for name, text in METRICS.items()
        }
        for index, bus in enumerate(self._buses):
            for name, value in _read_values(bus):
                families[name].add_metric([str(index)], value)
        yield from (family for family in families.values() if family.samples)


def _read_values(bus: str) -> Iterator[tuple[str, float]]:
    memory, memory_limit, utilisation = METRICS
    try:
        pynvml.nvmlInit()  # NVML counts the calls; only the first one initialises it.
        device = pynvml.nvmlDeviceGetHandleByPciBusId(bus)
        usage = pynvml.nvmlDeviceGetMemoryInfo(device)
        yield memory, usage.used
        yield memory_limit, usage.total
        # NVML has no utilisation of a part of a GPU (MIG).
        yield utilisation, pynvml.nvmlDeviceGetUtilizationRates(device).gpu / 100
    except pynvml.NVMLError:
        return
