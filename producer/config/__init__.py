"""The settings from environment variables, the broker's URL, and message signing."""
