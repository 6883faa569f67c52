"""The testbed's words as values."""
