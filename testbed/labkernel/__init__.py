"""The lab kernel: runs a batch command in a User-Mode Linux guest on the host's own root file system.

A guest brings the OVS kernel datapath and netem to machines whose kernel has neither, and needs no root. It starts
no lab of its own: what runs inside is the same command line. Standard library only, because `testbed.run` uses it
before it has found the project's environment.

Open `boot` first: a command's way into a guest and back.

On the host, to run a command:

    __main__   `python -m testbed.labkernel COMMAND`
    cli        the option `--lab-kernel` of the command line
    boot       arguments, folder, output, exit code, Ctrl-C
    guest      one running guest: processes, consoles, signals
    guard      starts its kernel, and leaves none of its processes behind
    host       what the host gives it: kernel, modules, memory, a core
    settings   where the parts lie, and what environment variables change

In the guest:

    init       process 1
    output     the command's output on its way to a console

Between the two:

    wire       what they tell each other (pure)

To make the modules, once, by `make lab-kernel`:

    build      the order of the steps
    debian     what is asked of the package system
    modules    compiling, and putting together with the stock ones
    selfcheck  whether conntrack zones work
"""
