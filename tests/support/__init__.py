"""Shared support for the tests: fixtures, servers, models, files and photographs."""
