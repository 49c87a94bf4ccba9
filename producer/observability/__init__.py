"""Logs, redaction and traces."""
