"""The clusters of the chaos tests."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.system.chaos.cluster import Cluster, ClusterSpec

    OpenCluster = Callable[[ClusterSpec], Cluster]


@pytest.fixture(scope="module")
def open_cluster(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[OpenCluster]":
    """Return a function that opens a cluster, once per module and specification."""
    from tests.system.chaos.cluster import Cluster

    clusters: dict[ClusterSpec, Cluster] = {}
    with ExitStack() as stack:

        def open_cluster(spec: "ClusterSpec") -> "Cluster":
            if spec not in clusters:
                folder = tmp_path_factory.mktemp("chaos")
                clusters[spec] = stack.enter_context(Cluster(folder, spec))
            return clusters[spec]

        yield open_cluster
