"""Cluster state to rows."""
