"""The gateway: what calls by the gateway route, and whoever operates functions over HTTP, speak to.

It stands for OpenFaaS's gateway, with its routes, texts, metrics and settings, and is measured against HAProxy: what
is done for every request is done with as few calls as possible. It keeps no cluster state (the apiserver's), starts
no instance (the node agent's) and does not scale by load (the scaler's). It runs in a host on the data network.

Open `process` first: it puts the parts together. A request comes in at `http.client_connection`, is sent on its way
by `service.dispatch`, and is carried there and back by `http.exchange` over a connection of `http.pool`.

    process         the program: starts and joins the parts below
    provider_proxy  the other program: faas-provider's proxy, for a gateway that is not ours, and the relay to it
    lifecycle       what both do around serving: listening sockets, limits of the process, the watch, a clean end
    config          their settings, from OpenFaaS's environment variables
    http/           HTTP between clients and upstreams; knows neither functions nor routes
    service/        which functions and routes there are, and who may use them; `service` uses `http`, never the reverse
"""
