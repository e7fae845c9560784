"""Data sets: where they come from, their checksums, their splits."""
