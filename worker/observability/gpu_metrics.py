"""Memory and use of the GPUs that this process sees, as NVML tells them at the moment."""

from collections.abc import Iterable, Iterator
from typing import Final

import pynvml
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

METRICS: Final = {
    "cutwork_gpu_memory_bytes": "Bytes of a GPU's memory in use, by whomever.",
    "cutwork_gpu_memory_limit_bytes": "Bytes of memory a GPU has.",
    "cutwork_gpu_utilisation_ratio": "Share of the last moments in which the GPU computed, 0…1.",
}


class GpuMetrics(Collector):
    """Asks the driver at each scrape. What it does not tell is left out, and never a zero."""

    def __init__(self, buses: Iterable[str]) -> None:
        """`buses`: PCI bus ids of the devices, in CUDA's order."""
        self._buses = tuple(buses)

    def collect(self) -> Iterator[Metric]:
        """The gauges, a sample a GPU in each."""
        families = {
            name: GaugeMetricFamily(name, text, labels=["gpu"]) for name, text in METRICS.items()
        }
        for number, bus in enumerate(self._buses):
            for name, value in _facts(bus):
                families[name].add_metric([str(number)], value)
        yield from (family for family in families.values() if family.samples)


def _facts(bus: str) -> Iterator[tuple[str, float]]:
    memory, memory_limit, utilisation = METRICS
    try:
        pynvml.nvmlInit()  # Counted; the first one does it.
        device = pynvml.nvmlDeviceGetHandleByPciBusId(bus)
        found = pynvml.nvmlDeviceGetMemoryInfo(device)
        yield memory, found.used
        yield memory_limit, found.total
        # A part of a GPU (MIG) has no utilisation of its own.
        yield utilisation, pynvml.nvmlDeviceGetUtilizationRates(device).gpu / 100
    except pynvml.NVMLError:
        return
