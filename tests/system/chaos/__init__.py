"""Faults made for real, and what becomes of the images meanwhile."""
