"""HTTP/1.1 as the gateway speaks it: a client's connection on one side, an upstream's on the other, bytes between.

What is here would serve any reverse proxy. It does not know functions, routes or who may call what: `service` decides
that, and what is needed of it stands as a protocol in the module that needs it. Framing itself is
`platform.common.http1`, parsing is httptools'.

Open `exchange` first: one request and its answer.

    client_connection  a client's connection: reads requests, keeps their order, refuses what is no HTTP, lets go of
                       clients that are idle, slow, or read nothing
    exchange           one request and its answer: head and body there and back, trying again, breaking off, call ids
    pool               connections to one upstream (a function's vIP, or the apiserver): kept, reused, renewed when the
                       instances change, and dropped when they have been idle for too long
    deadlines          the time limits, and the queue that fires when one is over
    counting           what an exchange is counted in
    answers            what the gateway answers by itself as any proxy would: bad request, too large, no upstream
"""
