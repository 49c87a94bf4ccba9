"""Which sources of a listing are to be sent, in the order they come. Pure."""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

from producer.contract.s3_prefix import S3Prefix
from producer.contract.s3_uri import LONGEST_KEY_BYTES
from producer.sync.listing.page import Entry
from producer.sync.plan.existing_outputs import ExistingOutputs
from producer.sync.plan.name_conflicts import NameConflicts
from producer.sync.plan.naming import Naming, is_too_long
from producer.sync.plan.selection import Exclusion, Selection

Verdict = Literal["excluded", "current", "conflicting", "send"]
Resend = Literal["forced", "changed_options"]
Reason = (
    Exclusion
    | Resend
    | Literal["newer", "missing", "older", "name_conflict", "name_too_long", "name_misplaced"]
)


class Planned(NamedTuple):
    """What is to become of one source. Exactly one for each, in the sources' order."""

    source: Entry
    verdict: Verdict
    """The field of `RunCounts` it counts in, `send` aside."""
    reason: Reason
    """excluded: marker, output, filtered, old. current: newer. send: missing, older, forced,
    changed_options. conflicting, none of them sent: name_conflict, name_too_long, name_misplaced.
    """
    image: str | None = None
    """The key of the cut-out; None where none is wanted, and of what is excluded."""
    mask: str | None = None
    message: str | None = None
    """Of what is conflicting: what is wrong, and what to do."""


class Output(NamedTuple):
    """One kind of output: where it goes, and what is there."""

    naming: Naming
    existing: ExistingOutputs | None
    """None where everything is sent whatever is there."""

    def state(self, key: str, modified: str) -> Literal["newer", "missing", "older"]:
        """What is there for a source that was modified then; as new as that is newer."""
        written = self.existing.modified(key) if self.existing is not None else None
        if written is None:
            return "missing"
        return "older" if written < modified else "newer"


class Planner(NamedTuple):
    """What a plan goes by."""

    selection: Selection
    image: Output | None
    mask: Output | None
    resend: Resend | None
    cursor: str
    """A source up to which all were planned before; "" for none."""
    list_earlier: Callable[[str], Iterable[Entry]]
    """The sources whose keys begin with a text, in order. Asked only near the cursor."""
    has_unique_names: bool
    """Whether no two sources can have outputs of one name."""
    reserved: tuple[tuple[Output, str], ...]
    """Outputs, and prefixes that lie within theirs and hold something else."""

    def plan(self, sources: Iterable[Entry]) -> Iterator[Planned]:
        """The verdict on each source; `sources` come in key order from above the cursor."""
        selection, image, mask = self.selection, self.image, self.mask
        conflicts = None
        if not self.has_unique_names:
            conflicts = NameConflicts(cursor=self.cursor, list_earlier=self._earlier_names)
        for source in sources:
            excluded = selection.by_name(source)
            if excluded is not None:
                yield Planned(source, "excluded", excluded)
                continue
            key = source.key
            # Before its age is looked at: an older photograph has a name's first right too.
            first_source = conflicts.first_source(key) if conflicts is not None else None
            excluded = selection.by_age(source)
            if excluded is not None:
                yield Planned(source, "excluded", excluded)
                continue
            image_key = image.naming.key(key) if image is not None else None
            mask_key = mask.naming.key(key) if mask is not None else None
            rejection = self._rejection(first_source, image_key, mask_key)
            if rejection is not None:
                yield Planned(
                    source, "conflicting", rejection[0], image_key, mask_key, rejection[1]
                )
                continue
            reason = self.resend or self._reason(source.modified, image_key, mask_key)
            verdict: Verdict = "current" if reason == "newer" else "send"
            yield Planned(source, verdict, reason, image_key, mask_key)

    def _reason(self, modified: str, image_key: str | None, mask_key: str | None) -> Reason:
        # Both are looked up, whatever the first says: each listing is read along.
        image = self.image.state(image_key, modified) if self.image and image_key else "newer"
        mask = self.mask.state(mask_key, modified) if self.mask and mask_key else "newer"
        return mask if image == "newer" or mask == "missing" else image

    def _rejection(
        self, first_source: str | None, image_key: str | None, mask_key: str | None
    ) -> tuple[Reason, str] | None:
        if first_source is not None:
            return "name_conflict", (
                f"{first_source!r} has the same output; put {{suffix}} or {{name}} into the name"
            )
        for key in (image_key, mask_key):
            if key is not None and is_too_long(key):
                return "name_too_long", (
                    f"the output's key has {len(key.encode())} bytes, S3 allows "
                    f"{LONGEST_KEY_BYTES}; take a shorter prefix or name"
                )
        for output, prefix in self.reserved:
            key = image_key if output is self.image else mask_key
            if key is not None and key.startswith(prefix):
                return "name_misplaced", (
                    f"the output {key!r} would lie in {prefix!r}, which is for something "
                    "else; take prefixes that lie apart"
                )
        return None

    def _earlier_names(self, beginning: str) -> Iterator[str]:
        for entry in self.list_earlier(beginning):
            if self.selection.by_name(entry) is None:
                yield entry.key


def reserved_prefixes(
    outputs: Iterable[Output], prefixes: Iterable[S3Prefix]
) -> tuple[tuple[Output, str], ...]:
    """For each output the prefixes of other places that lie within its own."""
    prefixes = tuple(prefixes)
    return tuple(
        (output, prefix.prefix)
        for output in outputs
        for prefix in prefixes
        if prefix != output.naming.target and output.naming.target.contains(prefix)
    )
