"""The platform as the command line, experiments and lab tests see it: over HTTP, from inside the lab's network.

It keeps nothing and decides nothing that the apiserver decides; it invokes no function.

Open `platform` first.

    platform         deploy, scale, remove an application, and wait until that is so everywhere
    tenant           secrets, namespaces, a function's status, logs, tokens
    bringup          starts a lab and waits until its control plane answers
    lookup           the names that a user gives, made whole
    applications     what stands under functions/, and which namespaces hold it
    datastore_setup  passwords and first contents of stores, before a deployment
    seeding          a store's contents, made the same again
    lab_http         single requests into the lab
"""
