"""Nodes' Open vSwitch and the trunks between nodes. What rows a switch holds is the controller's.

Open `node` first.

    node             a node: network namespace, ovsdb-server, ovs-vswitchd, one bridge
    ovsdb            ports of a bridge, added and deleted without spawning ovs-vsctl
    appctl           questions to a node's ovs-vswitchd: traces, and counters brought up to date
    trunk            delay, jitter, loss and rate of a link, set and read back while it carries
    datapath         kernel or userspace: tried, not guessed
    delay_element.c  the trunk of the userspace datapath
"""
