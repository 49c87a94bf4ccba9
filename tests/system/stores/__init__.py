"""Whole runs against every object store that a package brings."""
