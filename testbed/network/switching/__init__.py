"""Nodes, their Open vSwitch and the trunks between them."""
