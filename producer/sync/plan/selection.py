"""The objects under the prefix of the sources that are sources."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from pathspec.patterns.gitignore.base import GitIgnorePatternError
from pathspec.patterns.gitignore.basic import GitIgnoreBasicPattern

from producer.contract.s3_prefix import S3Prefix
from producer.sync.listing.page import Entry, time_text
from producer.sync.plan.step import Exclusion


class Selection:
    """The filter of --include, --exclude and --since, which also excludes outputs and markers.

    Patterns are those of .gitignore, applied to the key below the prefix: `*.jpg` matches at any
    depth, `raw/` everything in folders of that name at any depth, `/raw/` only in that at the top,
    `raw/*` the objects directly in it, `a/**/b` at any depth below `a`. Case matters.
    """

    def __init__(
        self,
        *,
        source: S3Prefix,
        outputs: Sequence[S3Prefix],
        include: Sequence[str],
        exclude: Sequence[str],
        since: float | None,
    ) -> None:
        """`since` is a Unix time in seconds. Raises `ValueError` on an invalid pattern."""
        self._skip = len(source.prefix)
        self._outputs = tuple(
            output.prefix for output in outputs if output != source and source.contains(output)
        )
        self._include = _compiled(include)
        self._exclude = _compiled(exclude)
        self._since = "" if since is None else time_text(datetime.fromtimestamp(since, UTC))

    def exclusion_by_key(self, entry: Entry) -> Exclusion | None:
        """Return why the key or the size excludes an object; None if neither does."""
        key = entry.key
        if entry.size == 0 and key.endswith("/"):
            return "marker"
        if self._outputs and key.startswith(self._outputs):
            return "output"
        # Like pathspec, ignore empty folder names at the beginning.
        below = key[self._skip :].lstrip("/")
        if self._include is not None and not self._include.match(below):
            return "filtered"
        if self._exclude is not None and self._exclude.match(below):
            return "filtered"
        return None

    def exclusion_by_age(self, entry: Entry) -> Exclusion | None:
        """Return `old` if an object was written before `since`, else None."""
        return "old" if entry.modified < self._since else None


def _compiled(patterns: Sequence[str]) -> re.Pattern[str] | None:
    """Return one expression that matches if a pattern matches; None without patterns."""
    expressions = []
    for pattern in patterns:
        try:
            expression, is_positive = GitIgnoreBasicPattern.pattern_to_regex(pattern)
        except GitIgnorePatternError as error:
            raise ValueError(f"expected a pattern, found {pattern!r}: {error}") from error
        if expression is None or not is_positive:
            raise ValueError(
                f"expected a pattern such as *.jpg or raw/**, found {pattern!r}; write \\# or \\! "
                "for a name that begins with # or !, and use --exclude to leave objects out"
            )
        expressions.append(f"(?:{expression})")
    # DOTALL because a key may contain line breaks.
    return re.compile("|".join(expressions), re.DOTALL) if expressions else None
