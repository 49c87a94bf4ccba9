"""Logs, redaction, events and traces."""
