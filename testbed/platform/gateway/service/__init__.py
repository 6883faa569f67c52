"""What the gateway is asked for: functions, the routes of /system, metrics and a page; and what it answers itself.

It decides and leaves the bytes to `http`. What is kept between requests lives here, too: the functions that are
known, calls that wait, digests of tokens, counters.

Open `dispatch` first: where each request goes.

    dispatch          which of the modules below gets a request; closes what is idle; what all connections share
    routes            what a request's target means, and how a function's name is written in it
    functions         the functions by name, whether they are visible from outside, their ready instances and pools
    tokens            the bearer token that a namespace may ask of its callers
    waking            calls to functions at zero: how long they wait, how the first instance is asked for; alerts'
                      formula (which functions may be woken: `testbed.model.scaling.waking`)
    system            everything but /function: basic auth, what is passed on to the apiserver, what is added to it
    apiserver_client  the gateway's own questions to the apiserver
    error_table       what is answered where a request goes nowhere, in OpenFaaS's words
    metrics           what is counted, and its Prometheus names
    history           keeps the counters over a restart
    monitor           the second port: /metrics and /healthz
    ui                the page under /ui/
"""
