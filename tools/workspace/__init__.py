"""Sets up what the make targets need. Runs on the system's own Python: nothing but the standard library is imported."""
