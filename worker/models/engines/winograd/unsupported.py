"""Why a graph is not for these networks."""


class UnsupportedGraph(Exception):
    """The graph has something that is not built here; the message says what."""
