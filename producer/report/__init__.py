"""What people look at afterwards: the page of a run, and the demo's. Most of it needs an extra."""
