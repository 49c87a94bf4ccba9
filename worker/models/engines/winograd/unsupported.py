"""The error for graphs that the own engine does not run."""


class UnsupportedGraph(Exception):
    """The graph contains something that this engine does not implement; the message says what."""
