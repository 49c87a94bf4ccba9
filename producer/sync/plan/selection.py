"""The objects under the prefix of the sources that are sources."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from pathspec.patterns.gitignore.base import GitIgnorePatternError
from pathspec.patterns.gitignore.basic import GitIgnoreBasicPattern

from producer.contract.s3_prefix import S3Prefix
from producer.sync.listing.page import Entry, time_text
from producer.sync.plan.step import Exclusion

IMAGE_SUFFIXES: Final = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".tif", ".tiff"),
    *(".bmp", ".dib", ".gif", ".avif", ".avifs", ".heic", ".heif", ".heics", ".heifs", ".hif"),
)
"""The suffixes of the formats that workers read, in lower case."""
_LONGEST_SUFFIX: Final = max(map(len, IMAGE_SUFFIXES))
_RESOURCE_FORK: Final = "._"
"""The beginning of the names of macOS's companion files, which have the suffix of their image."""


def has_image_name(name: str) -> bool:
    """Return whether a file's name, in any case, is that of an image that workers read."""
    is_image = name[-_LONGEST_SUFFIX:].lower().endswith(IMAGE_SUFFIXES)
    return is_image and name.rfind(".") > 0 and not name.startswith(_RESOURCE_FORK)


class Selection:
    """The sources among the objects under a prefix.

    Left out are folders and outputs, names that are not those of images, and what --include,
    --exclude and --since leave out.

    Patterns are those of .gitignore, applied to the key below the prefix: `*.jpg` matches at any
    depth, `raw/` everything in folders of that name at any depth, `/raw/` only in that at the top,
    `raw/*` the objects directly in it, `a/**/b` at any depth below `a`. Case
    matters unless `ignore_case` is set.
    """

    def __init__(
        self,
        *,
        source: S3Prefix,
        outputs: Sequence[S3Prefix],
        include: Sequence[str],
        exclude: Sequence[str],
        since: float | None,
        ignore_case: bool = False,
        all_files: bool = False,
    ) -> None:
        """`since` is a Unix time in seconds. Raises `ValueError` on an invalid pattern."""
        self._skip = len(source.prefix)
        self._outputs = tuple(
            output.prefix for output in outputs if output != source and source.contains(output)
        )
        flags = re.IGNORECASE if ignore_case else re.NOFLAG
        self._include = _compiled(include, flags)
        self._exclude = _compiled(exclude, flags)
        self._all_files = all_files
        self._since = "" if since is None else time_text(datetime.fromtimestamp(since, UTC))

    def exclusion_by_key(self, entry: Entry) -> Exclusion | None:
        """Return why the key or the size excludes an object; None if neither does."""
        key = entry.key
        if entry.size == 0 and key.endswith("/"):
            return "folder"
        if self._outputs and key.startswith(self._outputs):
            return "output"
        # Like pathspec, ignore empty folder names at the beginning.
        below = key[self._skip :].lstrip("/")
        if self._include is not None and not self._include.match(below):
            return "filtered"
        if self._exclude is not None and self._exclude.match(below):
            return "filtered"
        if not self._all_files and not has_image_name(below[below.rfind("/") + 1 :]):
            return "not_image"
        return None

    def exclusion_by_age(self, entry: Entry) -> Exclusion | None:
        """Return `old` if an object was written before `since`, else None."""
        return "old" if entry.modified < self._since else None


def _compiled(patterns: Sequence[str], flags: re.RegexFlag) -> re.Pattern[str] | None:
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
    return re.compile("|".join(expressions), re.DOTALL | flags) if expressions else None
