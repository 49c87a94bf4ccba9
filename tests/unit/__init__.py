"""Tests that need no server and start no process."""
