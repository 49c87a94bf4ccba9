"""Metrics, probes, traces, and the time that each stage takes."""
