"""A pool of workers that scales up from zero, loses machines and scales down to zero."""
