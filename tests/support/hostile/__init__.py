"""Hostile files, generated deterministically, that an attacker could upload to stop a worker."""
