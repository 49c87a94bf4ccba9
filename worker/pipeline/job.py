"""One job through all stages: fetch → decode → model → mask → encode → store."""

import hashlib
import json
import logging
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from producer.contract.job import Job
from producer.contract.options import Options
from producer.contract.outcome import Outcome, OutputFacts, SourceFacts
from producer.contract.s3_uri import ImageRef
from worker.errors import (
    AccessDenied,
    CutworkError,
    MemoryExhausted,
    OutputsContested,
    PermanentError,
)
from worker.imaging import masks
from worker.imaging.encode import FORMATS
from worker.models.files.store import ModelFile
from worker.observability.stopwatch import Stopwatch
from worker.pipeline.cutout import CutOut, Limits, cut_out, may_shrink
from worker.pipeline.memory_budget import Reservation
from worker.pipeline.segment import Models
from worker.pipeline.storage import S3Storage, Stored

log = logging.getLogger(__name__)

PIPELINE_VERSION: Final = 4
"""Part of every fingerprint; raised when the same input would give other bytes."""

_NOT_IN_FINGERPRINT: Final = {"model", "model_sha256", "device_mode", "if_exists"}
"""The model counts by its hash and profile; the others are not to change what is written (half
precision on a GPU moves a mask by less than a level). Nor do defaults count:
an option that a later version adds must not make everything that is stored look old."""


def fingerprint(
    *, etag: str, options: Options, file: ModelFile | None, want_image: bool = True
) -> str:
    """SHA-256 over everything that decides the bytes of the outputs.

    `file` is the model's, with what is known of its input; None where no model is asked. A mask
    alone may be of a picture that was decoded smaller, and is not the one of a cut-out.
    """
    facts = {
        "source": etag,
        "model": file and {"sha256": file.sha256, "profile": file.profile.facts()},
        "options": options.model_dump(
            mode="json", exclude=_NOT_IN_FINGERPRINT, exclude_defaults=True
        ),
        "pipeline": PIPELINE_VERSION,
    }
    if may_shrink(options, want_image=want_image):
        facts["smaller"] = True
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """What every job needs. Jobs run through it side by side in threads."""

    storage: S3Storage
    models: Models
    limits: Limits

    def run(self, job: Job, *, final: bool = True, watch: Stopwatch | None = None) -> Outcome:
        """Take one job from its source to its outputs.

        A permanent error becomes a failed outcome. A transient one is raised for the caller to try
        again, or with `final` becomes a failed outcome too. Nothing is written unless everything
        before the store succeeded.
        """
        with self.limits.pictures.share() as share:
            watch = watch or Stopwatch()
            passage = _Passage(job=job, pipeline=self, share=share, watch=watch, final=final)
            try:
                return passage.run()
            except PermanentError as error:
                return passage.failed(error)
            except CutworkError as error:
                if not final:
                    raise
                return passage.failed(error)

    def refused(self, job: Job, error: PermanentError) -> Outcome:
        """The outcome of a job that is not to run."""
        with self.limits.pictures.share() as share:
            return _Passage(job=job, pipeline=self, share=share).failed(error)


@dataclass(kw_only=True)
class _Passage:
    """One job on its way, and what is known of it so far, for an outcome at any point."""

    job: Job
    pipeline: Pipeline
    share: Reservation
    """What it holds of the memory for images, from the first pixel to the last byte stored."""
    watch: Stopwatch = field(default_factory=Stopwatch)
    final: bool = True
    """Whether there is no further attempt."""
    source: SourceFacts | None = None
    fingerprint: str | None = None

    def run(self) -> Outcome:
        """The outcome of a job that is done or skipped; raises what stands in its way."""
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
        with ExitStack() as held:
            with self.watch.stage("fetch"):
                source = held.enter_context(storage.open(job.source))
            self.source = SourceFacts(ref=job.source, etag=source.etag, bytes=source.length)
            self.fingerprint = fingerprint(
                etag=source.etag,
                options=options,
                file=file,
                want_image=job.image is not None,
            )
            if options.if_exists == "skip" and (there := self._already_there(source.modified)):
                return self._outcome("skipped", **there)
            cut = cut_out(
                source,
                options,
                length=source.length,
                file=file,
                models=models,
                limits=self.pipeline.limits,
                share=self.share,
                watch=self.watch,
                want_image=job.image is not None,
                want_mask=job.mask is not None,
            )
        self.source = self.source.model_copy(
            update={"format": cut.format, "mode": cut.mode, "size": cut.picture_size}
        )
        with self.watch.stage("store"):
            outputs = self._store(cut)
        extent = masks.extent(cut.mask)
        return self._outcome(
            "done",
            **{
                name: facts.model_copy(update={"size": cut.size}) for name, facts in outputs.items()
            },
            run=cut.run,
            foreground_share=round(extent.share, 6),
            bounding_box=extent.box,
            crop=cut.crop,
            no_foreground=extent.box is None if cut.run else None,
            warnings=cut.warnings,
        )

    def failed(self, error: CutworkError) -> Outcome:
        """The outcome of a job that ended in an error."""
        return self._outcome("failed", code=error.code, message=str(error))

    def _outcome(self, state: Literal["done", "skipped", "failed"], **facts: object) -> Outcome:
        return Outcome.model_validate(
            {
                "job_id": self.job.id,
                "state": state,
                "source": self.source or SourceFacts(ref=self.job.source),
                "fingerprint": self.fingerprint,
                "seconds": self.watch.seconds(),
                **facts,
            }
        )

    def _already_there(self, modified: datetime) -> dict[str, OutputFacts]:
        """Every output of the job, if all of them carry this fingerprint; else nothing.

        `modified`: when the source was written. Outputs of the same bytes written before get a new
        date, or whoever compares dates asks for them for ever.
        """
        storage = self.pipeline.storage
        found: dict[str, OutputFacts] = {}
        older: dict[ImageRef, Stored] = {}
        for name, ref in (("image", self.job.image), ("mask", self.job.mask)):
            if ref is None:
                continue
            try:
                stored = storage.head(ref)
            except AccessDenied:
                # What S3 answers for a missing key where the bucket may not be listed.
                return {}
            if stored is None or (stored.fingerprint, stored.output) != (self.fingerprint, name):
                return {}
            found[name] = OutputFacts(ref=ref, etag=stored.etag, bytes=stored.length)
            if stored.modified < modified:
                older[ref] = stored
        for ref, stored in older.items():
            try:
                storage.renew(ref, stored)
            except PermanentError as error:
                log.warning("%s: is as it should be, but keeps its old date: %s", ref, error)
        return found

    def _store(self, cut: CutOut) -> dict[str, OutputFacts]:
        """Write the outputs, the cut-out last: whoever sees it may count on the mask."""
        options = self.job.options
        written: dict[str, OutputFacts] = {}
        try:
            if self.job.mask and cut.mask_bytes:
                written["mask"] = self._put(
                    "mask", self.job.mask, cut.mask_bytes, options.mask_format
                )
            if self.job.image and cut.image_bytes:
                written["image"] = self._put(
                    "image", self.job.image, cut.image_bytes, options.image_format
                )
            if len(written) == 2:
                self._check_mask(written["mask"].ref)
        except CutworkError as error:
            # A failed job leaves nothing; one to be tried again overwrites what it wrote.
            if self.final or isinstance(error, PermanentError):
                for facts in written.values():
                    self._remove(facts.ref)
            raise
        return written

    def _remove(self, ref: ImageRef) -> None:
        """Take back what this job stored; what another one stored meanwhile stays."""
        storage = self.pipeline.storage
        try:
            stored = storage.head(ref)
            if stored is not None and stored.fingerprint == self.fingerprint:
                storage.remove(ref)
        except CutworkError as error:
            log.warning("%s: is left of a failed job: %s", ref, error)

    def _check_mask(self, ref: ImageRef) -> None:
        """Raise `OutputsContested` unless the mask is still of the cut-out that was just stored.

        Whoever writes last looks last: of two workers at least that one sees a mixture.
        """
        try:
            stored = self.pipeline.storage.head(ref)
        except AccessDenied:
            return  # It may write and not look: then nobody can say.
        if stored is None or stored.fingerprint != self.fingerprint:
            raise OutputsContested(
                f"{ref}: expected the mask stored a moment ago, found another one or none; the "
                "source was replaced, or two jobs write to the same place"
            )

    def _put(self, name: str, ref: ImageRef, data: bytes, image_format: str) -> OutputFacts:
        etag = self.pipeline.storage.put(
            ref,
            data,
            content_type=FORMATS[image_format].content_type,
            fingerprint=self.fingerprint or "",
            output=name,
        )
        return OutputFacts(ref=ref, etag=etag, bytes=len(data))
