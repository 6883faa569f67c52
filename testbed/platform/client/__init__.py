"""The platform as commands and experiments see it."""
