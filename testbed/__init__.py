"""The lab: an emulated cluster, the function platform that runs in it, and what people see, break and measure of it.

The SDN controller, which the lab runs as one more program, is `controllers`; what is measured in a lab, and how, is
`experiments`. Applications stand in functions/ and know nothing of this package.

Open `network` for how a lab comes to be, `platform` for what happens to a function, `model` for the words of both.

    run         the entry point, before there is a Python environment
    commands/   the command line: one module a verb
    observe/    what a person looks at: call graphs, who reaches whom, traces, shares, cold starts
    chaos/      faults for a running lab, and load under faults
    platform/   functions: apiserver, node agent, gateway, scaler, data stores, and a client of them
    measure/    clocks, CPU accounts, calibration, and whether a run is to be believed
    labkernel/  a batch verb in a User-Mode Linux guest: no root, a kernel of its own
    network/    the machines: nodes, switches, trunks, hosts, processes
    model/      what all of them talk about, as values

Imports go down this list, and never up (`model` imports none of the others); CI holds them to it.
"""
