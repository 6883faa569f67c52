"""Calls to functions without an instance."""
