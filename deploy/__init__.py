"""Everything that runs Cutwork: local servers for demo, tests and benchmarks, and deployments."""
