"""GPU metrics: the values of the driver, and none without one."""

import subprocess

import pytest
from prometheus_client import CollectorRegistry

from worker.models.engines.gpu import driver
from worker.observability.gpu_metrics import METRICS, GpuMetrics


def test_a_missing_value_is_not_zero() -> None:
    assert list(GpuMetrics([]).collect()) == []
    assert list(GpuMetrics(["0000:ff:1f.7"]).collect()) == []


@pytest.mark.skipif(not driver().devices, reason="needs a GPU")
def test_memory_and_utilisation_are_those_of_the_driver() -> None:
    registry = CollectorRegistry()
    registry.register(GpuMetrics(driver().bus_ids))
    fields = "--query-gpu=memory.total,pci.bus_id"
    command = ["nvidia-smi", fields, "--format=csv,noheader,nounits", "--id=0"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    total, bus = (part.strip() for part in text.split(","))
    assert driver().bus_ids[0].lower()[-10:] == bus.lower()[-10:]
    used, limit, share = (registry.get_sample_value(name, {"gpu": "0"}) for name in METRICS)
    assert limit == pytest.approx(int(total) * 2**20, rel=0.01)
    assert used is not None
    assert 0 < used < int(total) * 2**20
    assert share is None or 0 <= share <= 1
