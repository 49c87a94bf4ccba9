"""A broker and an S3 server with the buckets of the benchmarks."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local import LocalStack


@contextmanager
def servers() -> Iterator[tuple[LocalStack, Path]]:
    """Run both, empty, and yield them with a temporary folder."""
    with (
        tempfile.TemporaryDirectory(prefix="cutwork-bench-") as folder,
        LocalStack(Path(folder)) as stack,
    ):
        stack.start_broker()
        stack.start_s3()
        for bucket in ("photos", "cutouts"):
            stack.s3().create_bucket(Bucket=bucket)
        yield stack, Path(folder)
