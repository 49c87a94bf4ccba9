"""`python -m worker`: one local file, the catalogue's models, checks of this machine."""
