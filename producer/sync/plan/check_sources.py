"""Doubtful steps of a plan are decided by the ETag of the source that an output was made of.

Dates decide almost every step, and cost nothing. They are misleading where a source was replaced by
an object with an older date, and where a source is dated in the future.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

from producer.config.s3_errors import S3Condition, classify
from producer.contract.output_metadata import SOURCE, output_metadata
from producer.contract.s3_uri import ImageRef
from producer.sync.listing.objects import ListingFailed
from producer.sync.plan.step import Step

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

ReadSource = Callable[[ImageRef], str | None]
"""Returns the ETag of the source that an output was made of; None if the output does not say."""

_THREADS: Final = 16
_MAX_AHEAD: Final = 1000
"""Steps that may wait for the answer about an earlier one."""


def check_sources(steps: Iterable[Step], read_source: ReadSource) -> Iterator[Step]:
    """Yield the steps in order, the doubtful ones decided; one request for each of these.

    An output that was made of this source is `current`; one of another source is sent, because it
    was `replaced`. A step keeps its verdict if its output does not name a source, or the
    listing gives no ETag.
    """
    waiting: deque[tuple[Step, Future[str | None] | None]] = deque()
    pool: ThreadPoolExecutor | None = None
    try:
        for step in steps:
            future = None
            output = step.image or step.mask
            if step.is_doubtful and output is not None:
                pool = pool or ThreadPoolExecutor(_THREADS, "check-sources")
                future = pool.submit(read_source, output)
            elif not waiting:
                yield step
                continue
            waiting.append((step, future))
            while waiting and (len(waiting) >= _MAX_AHEAD or _is_ready(waiting[0][1])):
                yield _decided(*waiting.popleft())
        while waiting:
            yield _decided(*waiting.popleft())
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def source_reader(s3: "S3Client", *, is_required: bool = False) -> ReadSource:
    """Return a function that reads the metadata of outputs; it raises `ListingFailed`.

    If these credentials may not read outputs, that is an error if `is_required`; else dates decide.
    """

    def read_source(ref: ImageRef) -> str | None:
        try:
            response = s3.head_object(Bucket=ref.bucket, Key=ref.key)
        except (ClientError, BotoCoreError) as error:
            failure = classify(error)
            if failure.condition is S3Condition.MISSING_OBJECT:
                return None
            if failure.condition is S3Condition.FORBIDDEN:
                if not is_required:
                    return None
                raise ListingFailed(
                    f"{ref}: S3 refuses to show its metadata ({failure.answer}); give these "
                    "credentials s3:GetObject on the outputs, or leave out --check-sources"
                ) from error
            raise ListingFailed(f"{ref}: expected its metadata, found {failure.answer}") from error
        return output_metadata(response.get("Metadata", {})).get(SOURCE)

    return read_source


def _is_ready(future: "Future[str | None] | None") -> bool:
    return future is None or future.done()


def _decided(step: Step, future: "Future[str | None] | None") -> Step:
    etag = future.result() if future is not None else None
    if etag is None or not step.etag:
        return step
    if etag == step.etag:
        return Step(step.cursor, "current", "newer")
    return step._replace(verdict="send", reason="replaced")
