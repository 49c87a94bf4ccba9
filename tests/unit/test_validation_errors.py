"""Sentences about refused values: bounded, and with one `found`."""

from collections.abc import Mapping

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from producer.contract.validation_errors import explain


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")

    number: int = 0
    url: str = ""
    either: int | tuple[int, int] = 0

    @field_validator("url")
    @classmethod
    def _validate(cls, url: str) -> str:
        if url == "own":
            raise ValueError("expected a URL, found something else; write a URL")
        if url:
            raise ValueError("expected a URL; write a URL")
        return url


def sentence(values: Mapping[str, object]) -> str:
    with pytest.raises(ValidationError) as caught:
        Strict.model_validate(values)
    return explain(caught.value)


def test_what_was_found_comes_before_what_to_do_and_once() -> None:
    assert sentence({"url": "x"}) == "url: expected a URL, found 'x'; write a URL"
    assert sentence({"url": "own"}) == "url: expected a URL, found something else; write a URL"
    assert sentence({"number": "x"}).count("found") == 1
    assert sentence({"either": "x"}).endswith(", found 'x'")


def test_names_and_their_number_are_bounded() -> None:
    text = sentence({"x" * 1_000_000: 1} | {f"name{number}": 1 for number in range(10_000)})
    assert len(text) < 5000
    assert text.endswith("and 9,981 more fields")
