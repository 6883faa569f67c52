"""Calls to functions that have no instance: held until there is one, released to it, or refused. None is left hanging.

Whether a function should have instances is the scaler's decision: it is told of the call and answers. Who may call at
all was decided by the tables before a packet came here.

Open `machine` first: how a held call is released, reset, given up (`EXPIRY_S`), how many a function holds.

    machine   which calls are held and how each ends (pure)
    effects   packets in and out, questions to the scaler, the time that passes
    segments  a TCP segment read, and the reset that answers it
"""
