"""What takes a real lab: rooms by subject, and here what more than one of them uses.

`conftest` holds the lab that all tests of one pytest process share; `traffic` and `calls` send packets from its
hosts, `custom` deploys functions that a test writes itself, and `functions/` holds small applications. The bench
as a whole is tried in test_bench. What needs no lab lies in tests/unit.
"""
