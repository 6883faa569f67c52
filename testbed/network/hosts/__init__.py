"""Hosts: how one comes to stand within milliseconds, and what can be sent from inside it.

What runs in a host is the node agent's (functions, stores) or the lab's (gateway, client).

Open `sandboxes` first.

    sandboxes  Mininet hosts, a few of them prepared in advance
    netlink    veth pairs without spawning `ip`
    frames     sends frames from a host's namespace, whatever they say of their source
    attempts   who gets through to whom: many SYNs and requests at once
"""
