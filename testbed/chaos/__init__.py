"""Faults, and load under faults."""
