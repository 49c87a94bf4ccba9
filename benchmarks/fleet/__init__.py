"""A simulation of a large fleet, which finds its first bottleneck."""
