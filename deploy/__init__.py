"""Running Cutwork: locally for the demo, the tests and the benchmarks, and on machines."""
