"""What turns a handler into a server; part of the template, not of the function."""
