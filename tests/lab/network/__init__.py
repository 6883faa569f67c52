"""The machines and what connects them: datapath, connections without end, sandboxes, version 2 of cgroups."""
