"""The machines of a lab: nodes, switches, trunks and hosts, the namespaces they live in, the processes they run.

It starts the platform's programs and the controller by their command lines and knows nothing else of them; which
instances there are, and what may speak to what, is theirs.

Open `lab` for the side of whoever starts a lab, `daemon` for the inside, `cluster` for what is built there.

    lab            start a lab in namespaces of its own, find it again, run things in it, stop it
    config         how a lab is to be built, from its runner to its daemon
    daemon         child of the lab's first process: builds the cluster, starts the components, answers clients
    daemon_client  asks the daemon, over protocol: hosts, namespaces, trunks, components
    protocol       one JSON line each way, with descriptors
    cluster        nodes, trunks, management network and hosts, as one Mininet network
    components     the command lines of control plane and gateway
    foreign        somebody else's gateway program
    loopback       the machine's port that the gateway serves
    attach         Mininet's command line on a running lab
    janitor        clears a lab's folder away, whatever ended its runner
    hosts/         sandboxes, and what is sent from inside them
    switching/     a node's Open vSwitch, and the trunks between nodes
    process/       supervisor, cgroups, namespaces, mounts, names

Modules here may import the three rooms; hosts imports switching and process, switching imports process.
"""
