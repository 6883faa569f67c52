"""Functions that attack the machine they run on, and what came of each attempt.

    attempt         what an attempt is, what an answer is, and how success is known
    scene           who is attacked, by whom, and how an attacker is told what to try
    witness         a process of the lab's own that others might reach, and what it leaves lying about
    processes, files, kernel, network, burdens, data   the attempts, by what they are made on
    outcomes        all attempts by all attackers, as rows
    __main__        prints the rows as a Markdown table: python -m tests.lab.isolation

The attackers lie in tests/lab/functions/attacker: one set of tools in Python and in C, which are told by name and
arguments what to try. Success is judged from outside where that can be seen. No attempt does lasting harm where it
succeeds: it proves the right and makes no use of it, or what it made is removed.
"""
