"""Runs of `cutwork sync` as Redis keeps them, to be looked at from anywhere."""
