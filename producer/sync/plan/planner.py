"""The verdict on each source of a listing: send it, or leave it, and why. Pure computation."""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

from producer.contract.s3_prefix import S3Prefix
from producer.contract.s3_uri import LONGEST_KEY_BYTES, ImageRef
from producer.sync.listing.page import Entry
from producer.sync.plan.existing_outputs import ExistingOutputs
from producer.sync.plan.name_conflicts import NameConflicts
from producer.sync.plan.naming import Naming, is_too_long
from producer.sync.plan.selection import Selection
from producer.sync.plan.step import Reason, Rejection, Resend, Step, Verdict


class Output(NamedTuple):
    """One kind of output, cut-outs or masks: its names, and which objects exist already."""

    naming: Naming
    existing: ExistingOutputs | None
    """None if everything is sent regardless of existing outputs."""

    def state(self, key: str, modified: str) -> Literal["newer", "missing", "older"]:
        """Compare the output `key` with the time its source was modified; equal is newer."""
        written = self.existing.modified(key) if self.existing is not None else None
        if written is None:
            return "missing"
        return "older" if written < modified else "newer"

    def ref(self, key: str) -> ImageRef | None:
        """Return the object of a key; None if S3 does not allow a key as long as this one."""
        if is_too_long(key):
            return None
        return ImageRef(bucket=self.naming.target.bucket, key=key)


class Planner(NamedTuple):
    """Everything on which the verdicts of a plan depend."""

    bucket: str
    """The bucket of the sources."""
    selection: Selection
    image: Output | None
    mask: Output | None
    resend: Resend | None
    cursor: str
    """The key of the last source that an earlier process has planned; "" if there is none."""
    list_earlier: Callable[[str], Iterable[Entry]]
    """Lists all sources whose keys begin with a text, in order. Called only near the cursor."""
    has_unique_names: bool
    """Whether the name template gives different names to any two sources."""
    reserved: tuple[tuple[Output, str], ...]
    """Pairs of an output and a prefix within the output's own that holds something else."""
    checks_sources: bool = False
    """Whether outputs that are newer than their sources are doubtful too."""
    now: str = "~"
    """The time as `Entry.modified`; no output is newer than a source of a later time."""

    def plan(self, sources: Iterable[Entry]) -> Iterator[Step]:
        """Yield one step per source; `sources` come in key order and begin after the cursor."""
        selection, image, mask = self.selection, self.image, self.mask
        conflicts = NameConflicts(cursor=self.cursor, list_earlier=self._earlier_keys)
        for source in sources:
            key = source.key
            if exclusion := selection.exclusion_by_key(source):
                yield Step(key, "excluded", exclusion)
                continue
            # Conflicts come before age: a source that is too old still owns its output's name.
            first_source = None if self.has_unique_names else conflicts.first_source(key)
            if exclusion := selection.exclusion_by_age(source):
                yield Step(key, "excluded", exclusion)
                continue
            image_key = image.naming.key(key) if image is not None else None
            mask_key = mask.naming.key(key) if mask is not None else None
            verdict, reason, message = self._verdict(source, first_source, image_key, mask_key)
            is_doubtful = self._is_doubtful(source, reason)
            if verdict in ("archived", "current") and not is_doubtful:
                yield Step(key, verdict, reason)
                continue
            yield Step(
                cursor=key,
                verdict=verdict,
                reason=reason,
                source=ImageRef(bucket=self.bucket, key=key),
                etag=source.etag,
                bytes=source.size,
                image=image.ref(image_key) if image and image_key else None,
                mask=mask.ref(mask_key) if mask and mask_key else None,
                message=message,
                is_doubtful=is_doubtful,
            )

    def _verdict(
        self, source: Entry, first_source: str | None, image_key: str | None, mask_key: str | None
    ) -> tuple[Verdict, Reason, str]:
        if rejection := self._rejection(first_source, image_key, mask_key):
            return "conflicting", *rejection
        reason = self.resend or self._compare(source.modified, image_key, mask_key)
        if reason == "newer":
            return "current", reason, ""
        return ("archived", "archived", "") if source.is_archived else ("send", reason, "")

    def _is_doubtful(self, source: Entry, reason: Reason) -> bool:
        """Return whether dates cannot decide about a source that can be read."""
        if reason == "newer":
            return self.checks_sources and not source.is_archived
        return reason == "older" and source.modified > self.now

    def _compare(
        self, modified: str, image_key: str | None, mask_key: str | None
    ) -> Literal["newer", "missing", "older"]:
        # Look up both, whatever the first lookup gives, so that both listings advance together.
        image = self.image.state(image_key, modified) if self.image and image_key else "newer"
        mask = self.mask.state(mask_key, modified) if self.mask and mask_key else "newer"
        return mask if image == "newer" or mask == "missing" else image

    def _rejection(
        self, first_source: str | None, image_key: str | None, mask_key: str | None
    ) -> tuple[Rejection, str] | None:
        """Return why a source cannot be sent, as an error code and a sentence."""
        if first_source is not None:
            return "name_conflict", (
                f"{first_source!r} has the same output; put {{suffix}} or {{name}} into the name"
            )
        for key in (image_key, mask_key):
            if key is not None and is_too_long(key):
                return "name_too_long", (
                    f"the output's key has {len(key.encode())} bytes, S3 allows "
                    f"{LONGEST_KEY_BYTES}; use a shorter prefix or name"
                )
        for output, prefix in self.reserved:
            key = image_key if output is self.image else mask_key
            if key is not None and key.startswith(prefix):
                return "name_misplaced", (
                    f"the output {key!r} would be in {prefix!r}, which holds something else; use "
                    "prefixes that do not contain each other"
                )
        return None

    def _earlier_keys(self, beginning: str) -> Iterator[str]:
        for entry in self.list_earlier(beginning):
            if self.selection.exclusion_by_key(entry) is None:
                yield entry.key


def reserved_prefixes(
    outputs: Iterable[Output], source: S3Prefix
) -> tuple[tuple[Output, str], ...]:
    """Pair each output with the prefixes of sources and other outputs that are within its own."""
    outputs = tuple(outputs)
    prefixes = (source, *(output.naming.target for output in outputs))
    return tuple(
        (output, prefix.prefix)
        for output in outputs
        for prefix in prefixes
        if prefix != output.naming.target and output.naming.target.contains(prefix)
    )
