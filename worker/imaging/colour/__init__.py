"""Which colours a file's numbers stand for: what it states, as an ICC profile."""
