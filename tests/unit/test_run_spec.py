"""The identity of a run."""

import pytest

from producer.contract.options import Options
from producer.contract.run import RunSpec

SYNC = RunSpec(source="s3://shop/in/", image="s3://shop/out/")


class LaterOptions(Options):
    added: int | None = None


class LaterSpec(RunSpec):
    options: Options = LaterOptions()
    added: bool = False


@pytest.mark.parametrize("given", [{}, {"margin": "5%"}])
def test_an_option_that_a_release_adds_does_not_change_the_identity(given: dict[str, str]) -> None:
    now = SYNC.model_copy(update={"options": Options(**given)})
    later = LaterSpec(source=SYNC.source, image=SYNC.image, options=LaterOptions(**given))
    assert later.digest() == now.digest()


@pytest.mark.parametrize(
    "other",
    [
        {"force": True},
        {"name": "{stem}.{ext}"},
        {"since_given": "7d"},
        {"options": Options(alpha_matting_erode_size=10)},
    ],
    ids=str,
)
def test_a_run_of_other_arguments_has_another_identity(other: dict[str, object]) -> None:
    assert SYNC.model_copy(update=other).digest() != SYNC.digest()


def test_the_time_that_since_stands_for_does_not_change_the_identity() -> None:
    assert SYNC.model_copy(update={"since": 1.0}).digest() == SYNC.digest()
