"""Experiments: what is asked of a lab to measure it, how a run is carried out and kept, and what its numbers say.

An experiment prepares, runs and processes, and its results can be made again from its raw data alone. It uses a lab
as any client does, and changes nothing in how one works.

Open `base` first: what an experiment is. `chain_length` is the one there is; its parts are named after it.

    base                  prepare, run, process; finding an experiment by name and carrying it out
    chain_length          figures 9c and 9d of the paper: the order in which the modules below take turns
    chain_plan            what it does, decided beforehand: cells, their order, every single request (pure)
    chain_session         what it does to a lab: three deployments, loads, the gateway's connections
    chain_results         what its raw data say: cells, controls, slopes, the verdict
    chain_oracle          connections counted beside those expected (pure)
    application_requests  the requests that an application's folder describes
    rundir                the folder that a run leaves behind
    rawdata               rows on their way into it
    manifest              where, when and with what a run was made
    patience              what is done while a machine is not quiet
    progress              how far long work has come
    load/                 the load generator
    analysis/             from numbers to findings (pure)
    report/               from findings to what a reader sees
"""
