"""What breaks, what is wrongly used, and what ends early: what must hold then, and what is left behind.

tests/faults.toml has the promise that each of these tests keeps.
"""
