"""What the lab's processes are kept in: restarts, cgroups, namespaces and mounts, by system calls.

It knows neither switches nor hosts; which processes there are, `testbed.network.components` and the node agent say.

Open `supervisor` for how a component is kept running, `place` for what a function can see and do.

    supervisor  starts processes, restarts what ends
    cgroups     one group for each instance and component, for cgroup versions 1 and 2
    place       keeps a program in its place: its own processes, files and user, no right (place.c: the first process)
    skeleton    the read-only root that all places share
    namespaces  enters network namespaces, sets interfaces up in them
    mounts      mounts by system calls
    clearing    removes what functions have made
    mounts      mounts that only the lab, or one process, sees
    names       which names a lab resolves, and how it refuses the others
"""
