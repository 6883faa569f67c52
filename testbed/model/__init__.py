"""The testbed's words as values: what all programs of a lab, the controller and the experiments talk about.

Pure: nothing here opens a file (but `stack.stack_file.load`), a socket or a process, and nothing of the other rooms
is imported. What a value means for rows on a switch is the controller's to say.

Open `cluster` first: the cluster state is what most of the rest is about.

    cluster      deployments, deployed functions, instances, hosts; the cluster state and what an event makes of it
    watch        the stream of changes that the apiserver publishes: its format, and the decoder for all who follow
    application  an application as its stack.yaml says it: functions, calls, orders, names
    stack/       stack.yaml -> application, with every mistake named by file and line
    annotations  the names of annotations and labels, and of the secret with a meaning
    placement    annotations and constraints -> the nodes where a function may run
    scaling/     labels and annotations -> how a function is scaled, and whether a call may wake it
    datastores   which stores there are, who may reach them, where they keep their data
    rewrite      what becomes of the URLs in a function's environment, by route
    addressing   the address plan: node, eIP, vIP and MAC from small numbers; ports and URLs of the components
    credentials  who asks, and the text that proves it
    audiences    who may order what: whom each route of each server answers
    segments     TCP segments and ARP requests as bytes, with their checksums
    quantities   "128Mi", "100m"
    durations    "1m30s", "500ms"
    checkout     where the checkout and the applications in it lie
    errors       the one family of errors that a user can meet
"""
