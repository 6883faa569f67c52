"""The apiserver: keeps the cluster state, decides what follows from each request, and tells everybody of it.

It is the faas-provider of this testbed, and stands for Kubernetes' API server and scheduler. It starts no process
(node agents do), sends no rows (the controller), and does not scale by load (the scaler).

Open `cluster_state` first: every change of a lab is one of its methods.

    process        the program: routes, middlewares, the database
    routes/        HTTP: the faas-provider contract, the watch, what node agents report
    validation     requests read into values, and refused with one sentence
    cluster_state  what is there, and what follows from each request
    scheduler      how many instances to make or drain, on which node, with which address
    secret_state   secrets, and the digests of gateway tokens
    ledger         one version a change, and the changes that a watcher can still be told
    database       documents in SQLite
    usage          what instances use, from their cgroups
"""
