"""The apiserver."""
