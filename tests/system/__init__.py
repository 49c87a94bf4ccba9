"""Tests of the whole: demo, faults, images, deployment, documentation, fidelity."""
