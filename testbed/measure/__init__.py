"""Whether what was measured can be believed: clocks, CPU accounts, calibration of trunks, checks of a run.

What is measured, and how it is analysed, is `experiments`'; cgroups themselves are `testbed.network.process.cgroups`.

Open `fidelity` first.

    fidelity     planned against observed, and a verdict
    calibration  what a trunk adds to a round trip
    cpu          where the machine's CPU time went
    clocks       which clocks are used, and how good they are here
"""
