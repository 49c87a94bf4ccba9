"""One job through all stages: fetch → decode → segment → refine → encode → store."""

import logging
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

from producer.contract.job import Job
from producer.contract.outcome import LONGEST_LINE_BYTES, Outcome, OutputFacts, SourceFacts
from producer.contract.s3_uri import ImageRef
from producer.observability.redact import redact_line
from worker.errors import (
    AccessDenied,
    CutworkError,
    MemoryExhausted,
    OutputsContested,
    PermanentError,
    StorageRefused,
)
from worker.imaging.encode import FORMATS
from worker.observability.stopwatch import Stopwatch
from worker.pipeline.cutout import CutOut, cut_out
from worker.pipeline.fingerprint import fingerprint
from worker.pipeline.limits import Limits
from worker.pipeline.memory_budget import Reservation
from worker.pipeline.recipe import Recipe
from worker.pipeline.segment import Models
from worker.pipeline.source import Source
from worker.pipeline.storage import S3Storage
from worker.pipeline.stored import Stored

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """Runs jobs; thread-safe, so that jobs run side by side."""

    storage: S3Storage
    models: Models
    limits: Limits
    secrets: Collection[str] = ()
    """Texts that must not appear in an outcome."""

    def run(self, job: Job, *, final: bool = True, watch: Stopwatch | None = None) -> Outcome:
        """Return the outcome of one job after its outputs are stored.

        A permanent error becomes a failed outcome. A transient error is raised for the caller to
        try again; with `final` it becomes a failed outcome too. Nothing is written unless all
        stages before the last one succeeded.
        """
        with self.limits.image_memory.reserve() as reservation:
            attempt = _Attempt(self, job, reservation, watch or Stopwatch(), final=final)
            try:
                return attempt.run()
            except CutworkError as error:
                if final or isinstance(error, PermanentError):
                    return attempt.failed(error)
                raise

    def refused(self, job: Job, error: PermanentError) -> Outcome:
        """Return the outcome of a job that is refused before it runs."""
        with self.limits.image_memory.reserve() as reservation:
            return _Attempt(self, job, reservation, Stopwatch()).failed(error)


@dataclass
class _Attempt:
    """One attempt at a job, and what is known so far for an outcome at any point."""

    pipeline: Pipeline
    job: Job
    reservation: Reservation
    """Memory for the image, from its first pixel to the last byte stored."""
    watch: Stopwatch
    final: bool = True
    """Whether this is the last attempt."""
    source: SourceFacts | None = None
    fingerprint: str | None = None

    def run(self) -> Outcome:
        """Return the outcome of a job that is done or skipped; raise the errors of all stages."""
        try:
            return self._run()
        except MemoryError as error:
            raise MemoryExhausted(
                f"expected memory for the image, found none left ({error}); lower "
                "CUTWORK_IMAGE_MEMORY, CUTWORK_MODEL_MEMORY or CUTWORK_CONCURRENCY"
            ) from error

    def _run(self) -> Outcome:
        job, options = self.job, self.job.options
        storage, models = self.pipeline.storage, self.pipeline.models
        storage.check(source=job.source, outputs=[ref for ref in (job.image, job.mask) if ref])
        file = None
        if options.enabled:
            with self.watch.stage("load"):
                file = models.find(options.model, sha256=options.model_sha256)
        recipe = Recipe.resolve(
            options, file=file, want_image=job.image is not None, want_mask=job.mask is not None
        )
        with ExitStack() as stack:
            with self.watch.stage("fetch"):
                source = stack.enter_context(storage.open(job.source))
            self.source = SourceFacts(ref=job.source, etag=source.etag, bytes=source.length)
            self.fingerprint = fingerprint(source.etag, recipe)
            if options.if_exists == "skip" and (stored := self._stored_outputs(source)):
                return self._outcome("skipped", **stored)
            cutout = cut_out(
                source,
                recipe,
                length=source.memory,
                models=models,
                limits=self.pipeline.limits,
                reservation=self.reservation,
                watch=self.watch,
            )
        self.source = self.source.model_copy(update=cutout.source_facts())
        with self.watch.stage("store"):
            outputs = self._store(cutout)
        return self._outcome("done", **outputs, **cutout.facts())

    def failed(self, error: CutworkError) -> Outcome:
        """Return the outcome of a job that ended with an error."""
        return self._outcome("failed", code=error.code, message=self._redacted(str(error)))

    def _redacted(self, text: str) -> str:
        """Return a line for an outcome, which would cut a credential in two and not find it."""
        return redact_line(text, LONGEST_LINE_BYTES, secrets=self.pipeline.secrets)

    def _outcome(self, state: Literal["done", "skipped", "failed"], **facts: Any) -> Outcome:
        facts["warnings"] = tuple(map(self._redacted, facts.get("warnings", ())))
        return Outcome(
            job_id=self.job.id,
            state=state,
            source=self.source or SourceFacts(ref=self.job.source),
            fingerprint=self.fingerprint,
            seconds=self.watch.seconds(),
            **facts,
        )

    def _stored_outputs(self, source: Source) -> dict[str, OutputFacts]:
        """Return the job's outputs if all of them are stored with this fingerprint, else nothing.

        Outputs that are older than the source get a new date: otherwise a sync that compares dates
        would submit this job in every run. A new date does not help if the source's own is in the
        future; then sync compares ETags, for which the output must name its source.
        """
        storage = self.pipeline.storage
        outputs: dict[str, OutputFacts] = {}
        outdated: dict[ImageRef, Stored] = {}
        for name, ref in (("image", self.job.image), ("mask", self.job.mask)):
            if ref is None:
                continue
            try:
                stored = storage.head(ref)
            except AccessDenied:
                # S3 answers so for a missing key if the worker may not list the bucket.
                return {}
            if stored is None or (stored.fingerprint, stored.output) != (self.fingerprint, name):
                return {}
            outputs[name] = OutputFacts(ref=ref, etag=stored.etag, bytes=stored.length)
            is_older = stored.modified and source.modified and stored.modified < source.modified
            is_future = source.modified and source.modified > source.served_at
            if is_older and not (is_future and stored.source == source.etag):
                outdated[ref] = stored
        for ref, stored in outdated.items():
            try:
                storage.renew(ref, stored, source=source.etag)
            except PermanentError as error:
                log.warning("%s: is up to date, but keeps its old date: %s", ref, error)
        return outputs

    def _store(self, cutout: CutOut) -> dict[str, OutputFacts]:
        """Write the outputs, the cut-out last: a reader that sees it can rely on the mask."""
        job, options = self.job, self.job.options
        outputs: dict[str, OutputFacts] = {}
        try:
            for name, ref, data, image_format in (
                ("mask", job.mask, cutout.mask_bytes, options.mask_format),
                ("image", job.image, cutout.image_bytes, options.image_format),
            ):
                if ref and data:
                    etag = self.pipeline.storage.put(
                        ref,
                        data,
                        content_type=FORMATS[image_format].content_type,
                        fingerprint=self.fingerprint or "",
                        output=name,
                        source=(self.source and self.source.etag) or "",
                    )
                    outputs[name] = OutputFacts(
                        ref=ref, etag=etag, bytes=len(data), size=cutout.size
                    )
            if len(outputs) == 2:
                self._check_mask(outputs["mask"])
        except CutworkError as error:
            # A failed job leaves no outputs; a next attempt overwrites what this one wrote.
            if self.final or isinstance(error, PermanentError):
                for facts in outputs.values():
                    self._remove(facts)
            raise
        return outputs

    def _remove(self, output: OutputFacts) -> None:
        """Delete an output of this job, unless another job has replaced it."""
        storage, ref = self.pipeline.storage, output.ref
        try:
            stored = storage.head(ref)
            if stored is None or stored.etag != output.etag:
                return
            # A store that loses metadata has no fingerprint.
            if stored.fingerprint in (None, self.fingerprint):
                storage.remove(ref)
        except CutworkError as error:
            log.warning("%s: an output of a failed job could not be deleted: %s", ref, error)

    def _check_mask(self, mask: OutputFacts) -> None:
        """Raise `OutputsContested` unless the stored mask belongs to the cut-out just stored.

        Each worker checks after its last write, so of two workers that write to the same
        destinations at least the last one notices a mixture.
        """
        ref = mask.ref
        try:
            stored = self.pipeline.storage.head(ref)
        except AccessDenied:
            return  # The worker may write but not read, so it cannot check.
        if stored is not None and stored.etag == mask.etag and stored.length != mask.bytes:
            raise StorageRefused(
                f"{ref}: expected the {mask.bytes:,} bytes that were sent, found "
                f"{stored.length:,}; check the object store with `cutwork doctor --write s3://{ref.bucket}`"
            )
        if stored is None or stored.fingerprint != self.fingerprint:
            raise OutputsContested(
                f"{ref}: expected the mask stored a moment ago, found another one or none; the "
                "source was replaced, or two jobs write to the same destination"
            )
