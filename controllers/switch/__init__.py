"""What each switch holds and is sent. One object knows a switch (`state`), one worker speaks to it (`worker`).

What a switch should hold comes from desired/; nothing here decides who may call whom. A switch that is slow or hangs
holds up its own worker and nobody else.

Open `worker` first: one thing after another that is done for a switch. Then `state`: all that is known of one.

    crew        the workers, one a connected switch; what all switches together have confirmed
    worker      one switch's greenlet: reads, sends, waits for the barrier; checks the tables every few seconds and puts
                right what others have changed
    fleet       hands each switch what differs; and when an instance may be chosen by groups: once its own switch
                delivers to it
    state       one switch: told, confirmed, owed, to be looked at again (pure)
    reconcile   desired tables - actual tables -> changes in a safe order (pure)
    flushing    which connections a change forbids, and whether they still are forbidden later (pure)
    debts       the flushes a switch is still to be sent: when, how often, in which order (pure)
    latency     how long changes take until the last barrier (pure)
    channel     the OpenFlow connection: questions, answers, what is refused
    translator  changes and questions -> OpenFlow messages
    encoding    the bytes of the messages that change a switch
    decoding    what a switch answers -> rows, groups, meters, counts
    readings    what was read, as values
"""
