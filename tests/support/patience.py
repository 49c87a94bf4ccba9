"""How long a test waits for a condition."""

from typing import Final

PATIENCE: Final = 300.0
"""Seconds. A wait ends as soon as its condition holds; this only ends a test that hangs."""
