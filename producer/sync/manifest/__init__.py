"""Manifests: files that name sources and destinations."""
