"""Every entry of the catalogue is complete: sources, hash, licence and profile."""

import re
from urllib.parse import urlsplit

import pytest

from worker.models.files.catalogue import (
    CatalogueEntry,
    ChunksSource,
    HttpsSource,
    NpmSource,
    WheelSource,
    catalogue,
)

FAMILIES = (
    *("isnet-general-use", "isnet-general-use-int8", "isnet-general-use-full"),
    *("isnet-general-use-torch", "isnet-anime", "isnetis", "rmbg-1.4", "u2net", "u2netp"),
    *("u2net-human-seg", "silueta", "birefnet-general", "birefnet-general-lite", "modnet"),
)


def test_the_catalogue_has_the_common_models() -> None:
    assert tuple(catalogue()) == FAMILIES
    assert len({entry.file for entry in catalogue().values()}) == len(FAMILIES)


@pytest.mark.parametrize(("name", "entry"), catalogue().items())
def test_an_entry_is_complete(name: str, entry: CatalogueEntry) -> None:
    assert re.fullmatch("[0-9a-f]{64}", entry.sha256)
    assert entry.licence
    assert entry.about
    assert entry.profile.sides
    assert entry.profile.output == 0, "as both original systems read it: one graph for all presets"
    for source in entry.sources:
        match source:
            case HttpsSource() | ChunksSource():
                assert urlsplit(source.url).scheme == "https"
            case NpmSource() | WheelSource():
                assert re.search(r"[@=]\d+\.\d+\.\d+$", source.package), "an exact version"
    assert entry.bytes is None or entry.bytes > 10**6


def test_a_licence_without_commercial_use_is_restricted() -> None:
    assert [name for name, entry in catalogue().items() if entry.restricted] == ["rmbg-1.4"]
