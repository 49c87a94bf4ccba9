"""A pool of workers that grows from nothing, loses machines, and goes back to nothing."""
