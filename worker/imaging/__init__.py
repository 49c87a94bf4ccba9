"""Image processing on arrays and bytes, without S3, Celery or settings."""
