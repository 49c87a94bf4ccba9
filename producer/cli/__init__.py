"""The `cutwork` command."""
