"""How the key of a source determines the keys of its outputs."""

import string
from typing import Final, NamedTuple, Self

from producer.contract.s3_prefix import S3Prefix
from producer.contract.s3_uri import LONGEST_KEY_BYTES

EXTENSIONS: Final = {"tiff": "tif", "jpeg": "jpg"}
"""The extensions of formats that differ from the format's name."""
_FIELDS: Final = ("parent", "stem", "suffix", "name", "ext")
_FIELD_LIST: Final = ", ".join(f"{{{field}}}" for field in _FIELDS)


class KeyParts(NamedTuple):
    """The parts of a key below the prefix of the sources."""

    parent: str
    """The folder with a trailing slash, or an empty text."""
    stem: str
    suffix: str
    """The extension with its dot, case kept; empty if the only dot is the first character."""


def split_key(key: str) -> KeyParts:
    """Split a key into its parts, which joined give the key again."""
    slash = key.rfind("/") + 1
    dot = key.rfind(".")
    if dot <= slash:
        dot = len(key)
    return KeyParts(key[:slash], key[slash:dot], key[dot:])


class Template:
    """A validated name template such as `{parent}{stem}.{ext}`.

    `{parent}` is the first field and the rest adds a fixed number of folders, so two keys have the
    same name only if their folder and stem are the same. If `has_suffix`, all names differ.
    """

    def __init__(self, fields: tuple[tuple[str, str | None], ...]) -> None:
        self._fields = fields
        self.has_suffix = any(name in ("suffix", "name") for _, name in fields)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a template. Raises `ValueError` if it is invalid or gives many keys one name."""
        try:
            parsed = tuple(string.Formatter().parse(text))
        except ValueError as error:
            raise ValueError(f"name: {error} in {text!r}; double a literal brace") from None
        fields = []
        for literal, name, format_spec, conversion in parsed:
            if name is not None and name not in _FIELDS:
                raise ValueError(
                    f"name: expected the fields {_FIELD_LIST}, found {{{name}}} in {text!r}"
                )
            if format_spec or conversion:
                raise ValueError(f"name: expected plain fields, found {{{name}…}} in {text!r}")
            fields.append((literal, name))
        names = [name for _, name in fields if name is not None]
        if names.count("parent") != 1:
            raise ValueError(
                f"name: expected {{parent}} once, found {text!r}; without it "
                "photographs of the same name in two folders would overwrite each other"
            )
        if names[0] != "parent":
            raise ValueError(f"name: expected {{parent}} before the other fields, found {text!r}")
        if names.count("stem") + names.count("name") != 1:
            raise ValueError(
                f"name: expected either {{stem}} or {{name}} once, found {text!r}; without it "
                "the photographs of a folder would overwrite each other"
            )
        stem = names.index("stem") if "stem" in names else len(names)
        if "suffix" in names and (names.count("suffix") > 1 or names.index("suffix") < stem):
            raise ValueError(f"name: expected {{suffix}} once at most, after {{stem}}: {text!r}")
        return cls(tuple(fields))

    def pattern(self, extension: str) -> str:
        """Return the template as a format string whose arguments are those of `KeyParts`."""
        replacements = {
            "parent": "{0}",
            "stem": "{1}",
            "suffix": "{2}",
            "name": "{1}{2}",
            "ext": _escaped(extension),
            None: "",
        }
        return "".join(_escaped(literal) + replacements[name] for literal, name in self._fields)

    def beginning(self) -> str:
        """Return `pattern` up to the stem; formatted, it never decreases as keys increase."""
        pattern = self.pattern("")
        return pattern[: pattern.index("{1}") + len("{1}")]


class Naming:
    """The keys of the outputs of one kind, for the sources under a prefix."""

    def __init__(
        self, *, source: S3Prefix, target: S3Prefix, template: Template, image_format: str
    ):
        self.target = target
        self._skip = len(source.prefix)
        prefix = _escaped(target.prefix)
        extension = EXTENSIONS.get(image_format, image_format)
        self._pattern = prefix + template.pattern(extension)
        self._beginning = prefix + template.beginning()

    def key(self, source_key: str) -> str:
        """Return the key of the output, which may be too long for S3; see `is_too_long`."""
        return self._pattern.format(*split_key(source_key[self._skip :]))

    def beginning(self, source_key: str) -> str:
        """Return the output's key up to its stem; later sources seldom have outputs below it."""
        return self._beginning.format(*split_key(source_key[self._skip :]))

    def has_same_keys(self, other: "Naming") -> bool:
        """Return whether two kinds of output of one source would be the same object."""
        return self.target.bucket == other.target.bucket and self._pattern == other._pattern


def is_too_long(key: str) -> bool:
    """Return whether a key has more bytes than S3 allows."""
    # The first test avoids encoding: no character has more than four bytes.
    return len(key) * 4 > LONGEST_KEY_BYTES and len(key.encode()) > LONGEST_KEY_BYTES


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
