"""Model files: the catalogue, where they come from, and the cache on disk."""
