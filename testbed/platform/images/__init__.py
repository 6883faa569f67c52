"""Images and the templates they are built from."""
