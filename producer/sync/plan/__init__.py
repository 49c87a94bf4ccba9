"""The plan of a run: one step per input, from a listing or a manifest."""
