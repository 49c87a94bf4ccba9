"""The Celery application: what a worker process holds, and its one task."""
