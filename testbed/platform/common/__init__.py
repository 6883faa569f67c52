"""What several components need and none owns. No component is imported here.

Each module stands by itself; open the one that you need.

    watch          follows the cluster state in an asyncio loop (format and decoder: `testbed.model.watch`)
    guard          before every route of a server: who asks, and may they
    identity       a component's own credential, and the keys with which those of others are checked
    function_logs  what instances have written: the last lines, since a time, or as it grows
    http1          HTTP/1.1 for proxies
    prometheus     counters and histograms, and their text format
"""
