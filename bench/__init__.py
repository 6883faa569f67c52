"""The bench: what the testbed itself costs, held against its budgets. `make bench` runs it.

It measures the programs as they are and is used by none of them; experiments on routes are not here. A figure means
something beside the others of its run only.

Open `budgets` first: what is promised. Then the subject that measures it.

    __main__   the command: subjects one after another, each in a process of its own, and the report
    one        one subject in this process, and its result as a file
    subject    what a subject is, and the list of all
    budgets    the budgets, by name (data)
    outcome    what a subject found, as values
    report     the tables of docs/performance.md
    machine    what it was measured on, and what else the machine did
    subjects/  one module a subject
    rigs/      what they measure with
    profiled/  on the path of programs that are profiled
"""
