"""What an attacker's function tries, in Python: `python -m function.tools TOOL [ARG...]`, one process a tool.

`__main__` finds the tool and prints its answer, "yes" or "no" and what it saw; `files`, `processes`, `kernel`,
`sockets` and `burdens` hold the tools, `sql` the one for stores. ../native has the same in C.
"""
