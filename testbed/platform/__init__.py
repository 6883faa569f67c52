"""Functions: deployed, placed, started, invoked, scaled, and taken away; and the stores that they own.

Each of the first five rooms is a program, or the client of them, and none imports another: what two of them need
lies in a room below, or in `testbed.model`. They speak over HTTP.

    apiserver/   keeps the cluster state, decides what exists and on which node, publishes every change
    agent/       runs one node's instances: sandbox, process, readiness, drain
    gateway/     invocations by the gateway route, and OpenFaaS's routes for operators
    scaler/      how many instances a function has, by load
    client/      the platform as the command line and experiments see it
    datastores/  the servers that an application keeps its data in
    images/      images and the templates they are built from
    common/      what several need: the watch in asyncio, function logs, HTTP/1.1, Prometheus

What happens to a request on the direct route is the controller's alone: `controllers`.
"""
