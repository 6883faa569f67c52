"""What the bench's subjects measure with: load, servers to aim it at, labs, profiles. No rig knows a subject.

Open the subject first, and what it uses here then.

    client     the load generator for HTTP, the same for every target
    servers    the function and the apiserver that stand behind a gateway on the loopback
    proxies    these, HAProxy and the gateway as processes of this machine
    labs       a lab of the subject's own, a chain in it, its processes
    profiling  programs of a lab under cProfile
    clusters   cluster states of any size, and changes of them, where no lab is needed
    crowd      an application of hundreds of functions with a random call graph
    trials     who gets through to whom in it, all of them at once
    openflow   a bare client of a lab's switches: what a change costs without a controller
    flooder    a flood of first packets
"""
