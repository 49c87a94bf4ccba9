"""What commands print, and options as command-line flags."""
