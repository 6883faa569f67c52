"""The controller's REST interface: what is in force, what the switches have counted, a provider's policies.

It changes policies and nothing else, and answers only who may ask; docs/pipeline.md describes the bodies.

Open `read` first: the routes that only read. A policy's way in is `policies`.

    read           GET /version, /intents, /flows, /counters, /latency, /metrics
    policies       POST, GET and DELETE /policies: taken, saved, confirmed by the switches
    access         before every route: who asks, and may they
    answers        JSON, and refusals
    policy_report  what a policy does now, where it is not in force yet, and its hits (pure)
    counters       the switches' counts, named: calls, drops (what a denied call counts as), instances (pure)
    metrics        the same for Prometheus (pure)
    explain        a row in words (pure)
"""
