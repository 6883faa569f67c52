"""The lab's processes and what they are kept in."""
