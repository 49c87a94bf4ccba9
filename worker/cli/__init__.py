"""`python -m worker`: process a local file, fetch models, and check this machine."""
