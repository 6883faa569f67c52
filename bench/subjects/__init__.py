"""One module a subject, with a function `run`. `bench.subject` lists them and says how long each takes.

Without a lab, as programs on this machine:

    gateway     added latency and CPU per request, beside HAProxy
    streams     what the gateway holds of uploads and idle connections
    generator   how the flow generator grows with the cluster, a namespace, policies for everything

In a lab:

    start       until a lab is ready
    lab_kernel  the same in the lab kernel
    sandboxes   one more sandbox, the first and the 200th
    crowd       500 functions: what each costs, and whether exactly the calls of their graph pass
    activation  from no instance to the first answer
    isolation   what a place adds to a cold start, in four languages
    changes     from an event to the last switch's barrier
    pipeline    a direct call through all tables, beside plain forwarding
    hang        a scaling and a cold call while another node's switch hangs
    flood       what one tenant's flood does to another
    experiment  the experiment that `make experiment` runs, as a whole
"""
