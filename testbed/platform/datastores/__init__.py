"""The servers that an application keeps its data in."""
