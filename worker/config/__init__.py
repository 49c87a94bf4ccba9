"""The worker's settings and the allow lists in them."""
