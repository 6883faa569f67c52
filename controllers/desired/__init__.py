"""What each node's switch should hold: intents and policies -> rows, groups and meters. Pure, on values.

An event costs what it touches: each row belongs to a fragment (one port, one call, one service on one node), and only
fragments that an event touches are made again. What a switch holds already, and in which order it is told, is
switch/'s business; what a policy means is policy/'s.

Open `generator` first: it knows which node needs which fragment. The row of a call is made in `calls`.

    generator  the desired tables of all nodes, kept current event by event
    base       the rows that every node has, with all drops but the denied; those of a trunk; those of a port
    calls      one call's rows on one node: admitted, held, denied, limited, copied; its callee's row and group
    callgraph  the calls there are, found from either end
    balance    how a group's slots are dealt out to instances

From when on an instance may be chosen by groups at all, switch/fleet says.
"""
