"""The worker's app with the debug logs of all libraries."""

import logging

from worker import app

for name in ("botocore", "boto3", "urllib3", "kombu", "redis"):
    logging.getLogger(name).setLevel(logging.DEBUG)

__all__ = ["app"]
