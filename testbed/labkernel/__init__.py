"""The lab kernel: runs a batch command in a User-Mode Linux guest on the host's own root file system.

A guest brings the OVS kernel datapath and netem to machines whose kernel has neither, and needs no
root. `build` makes the modules once, `boot` runs commands, `init` is process 1 inside. Standard
library only, because `testbed.run` uses it before it has found the project's environment.
"""
