"""The parts of an ONNX graph: subgraphs, stored tensors, and the values that a node reads."""

from collections.abc import Iterator

from onnx import GraphProto, NodeProto, TensorProto


def nested_graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """Yield a graph and all its subgraphs, such as the branches of an `If`."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in ([attribute.g] if attribute.HasField("g") else []) + [*attribute.graphs]:
                yield from nested_graphs(inner)


def stored_tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Yield every tensor stored in a graph, without its subgraphs: weights and constants."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)


def input_names(node: NodeProto) -> list[str]:
    """Return the names that a node reads, including those that its subgraphs read."""
    names = list(node.input)
    for attribute in node.attribute:
        for graph in [attribute.g, *attribute.graphs]:
            for inner in graph.node:
                names.extend(input_names(inner))
    return names
