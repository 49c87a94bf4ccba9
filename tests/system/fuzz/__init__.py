"""Coverage-guided fuzzing of everything that parses untrusted bytes: `make fuzz`."""
