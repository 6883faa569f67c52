"""The load generator: planned requests are sent from a host of the lab, and what became of each is written down.

What to send is decided before and what it means afterwards, elsewhere: `plan` is all that both know.

Open `plan` first, then `driver`: it runs in the client's host, and `client` is the other end of its pipe.

    plan       requests as planned and as they went, in memory and as CSV files
    schedule   when requests of an open loop are due (pure)
    client     starts a driver and gives it commands
    driver     the process that carries them out
    users      its Locust users: in order, on a schedule, in a closed loop
    exchange   one request on a connection of its own, timed
    histogram  latencies as HdrHistogram logs
"""
