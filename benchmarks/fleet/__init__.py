"""A simulation of a fleet far larger than any machine here: where its first bottleneck is."""
