"""Feed a run: plan, bounded window, queue, and again what was lost."""
