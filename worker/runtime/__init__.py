"""The worker process: its Celery app, its state, its start and end, and its one task."""
