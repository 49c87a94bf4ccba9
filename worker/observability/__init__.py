"""A worker's metrics, health probes, traces, stage timings and throughput."""
