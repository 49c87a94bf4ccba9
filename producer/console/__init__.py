"""Output of the commands, and options as command-line flags."""
