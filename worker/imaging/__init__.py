"""Image maths: arrays and bytes in, arrays and bytes out; no S3, no Celery, no settings."""
