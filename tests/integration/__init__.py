"""Tests on a real broker, a real S3 and real workers."""
