"""Which objects under the source's prefix are to be cut out."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from pathspec.patterns.gitignore.base import GitIgnorePatternError
from pathspec.patterns.gitignore.basic import GitIgnoreBasicPattern

from producer.contract.s3_prefix import S3Prefix
from producer.sync.listing.page import Entry, time_text
from producer.sync.plan.step import Exclusion


class Selection:
    """What --include, --exclude and --since leave over, outputs and folders' markers aside.

    Patterns are those of .gitignore, on the key below the prefix: `*.jpg` at any depth,
    `raw/` a folder of that name at any depth with all in it, `/raw/` the one at the top, `raw/*`
    what lies directly in it, `a/**/b` at any depth below a. Case counts.
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
        """`since` in Unix seconds. `ValueError` on a pattern that is none."""
        self._skip = len(source.prefix)
        self._outputs = tuple(
            place.prefix for place in outputs if place != source and source.contains(place)
        )
        self._include = _compiled(include)
        self._exclude = _compiled(exclude)
        self._since = "" if since is None else time_text(datetime.fromtimestamp(since, UTC))

    def exclusion_by_key(self, entry: Entry) -> Exclusion | None:
        """Why an object is left alone whatever its age, None when it is not."""
        key = entry.key
        if entry.size == 0 and key.endswith("/"):
            return "marker"
        if self._outputs and key.startswith(self._outputs):
            return "output"
        # As pathspec does it: a pattern knows no folder without a name.
        below = key[self._skip :].lstrip("/")
        if self._include is not None and not self._include.match(below):
            return "filtered"
        if self._exclude is not None and self._exclude.match(below):
            return "filtered"
        return None

    def exclusion_by_age(self, entry: Entry) -> Exclusion | None:
        """Why an object is left alone for its age, None when it is not."""
        return "old" if entry.modified < self._since else None


def _compiled(patterns: Sequence[str]) -> re.Pattern[str] | None:
    """One expression for all patterns; None without any."""
    expressions = []
    for pattern in patterns:
        try:
            expression, wanted = GitIgnoreBasicPattern.pattern_to_regex(pattern)
        except GitIgnorePatternError as error:
            raise ValueError(f"{pattern!r} is no pattern: {error}") from error
        if expression is None or not wanted:
            raise ValueError(
                f"expected a pattern such as *.jpg or raw/**, found {pattern!r}; a first # or ! "
                "of a name is written \\# or \\!, and what is to be left out is an --exclude"
            )
        expressions.append(f"(?:{expression})")
    # A name may have line breaks, like any other character.
    return re.compile("|".join(expressions), re.DOTALL) if expressions else None
