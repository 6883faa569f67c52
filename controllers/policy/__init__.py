"""A provider's own rules."""
