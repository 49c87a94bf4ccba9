"""The testbeds of the chaos tests."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.system.chaos.testbed import Testbed, TestbedSpec

    OpenTestbed = Callable[[TestbedSpec], Testbed]


@pytest.fixture(scope="module")
def open_testbed(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[OpenTestbed]":
    """Return a function that opens a testbed, once per module and specification."""
    from tests.system.chaos.testbed import Testbed

    testbeds: dict[TestbedSpec, Testbed] = {}
    with ExitStack() as stack:

        def open_testbed(spec: "TestbedSpec") -> "Testbed":
            if spec not in testbeds:
                folder = tmp_path_factory.mktemp("chaos")
                testbeds[spec] = stack.enter_context(Testbed(folder, spec))
            return testbeds[spec]

        yield open_testbed
