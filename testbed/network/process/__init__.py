"""What the lab's processes are kept in: restarts, cgroups, namespaces and mounts, by system calls.

It knows neither switches nor hosts; which processes there are, `testbed.network.components` and the node agent say.

Open `supervisor` for how a component is kept running, `cgroups` for limits and accounts.

    supervisor  starts processes, restarts what ends
    cgroups     one group for each instance and component, for cgroup versions 1 and 2
    namespaces  enters network namespaces, sets interfaces up in them
    mounts      mounts that only the lab, or one process, sees
"""
