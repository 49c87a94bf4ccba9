"""What is claimed of speed and memory, measured beside what it is compared to."""
