"""Figures that the README promises, measured again."""
