"""Hosts: sandboxes and what is sent from inside them."""
