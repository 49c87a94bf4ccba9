"""Settings from the environment, and what a deployment allows a job to name."""
