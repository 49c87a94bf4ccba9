"""`cutwork sync`: plan a run from listings or a manifest, feed its jobs to the queue, follow it."""
