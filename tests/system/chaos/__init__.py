"""Real faults in a real system, and a check that no image is lost."""
