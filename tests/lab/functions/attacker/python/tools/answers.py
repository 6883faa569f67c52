"""How a tool says what came of it: it returns what it saw, or raises."""


class Refused(Exception):
    """What was tried did not succeed, for a reason that the kernel has no word for."""
