"""How the queues stand, as Prometheus metrics: for scaling a pool, and for watching it."""
