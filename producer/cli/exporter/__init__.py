"""Queue metrics for Prometheus, for autoscaling and monitoring."""
