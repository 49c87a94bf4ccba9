"""Listings of S3 prefixes, in key order and in parallel."""
