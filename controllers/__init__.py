"""The SDN controller: from the cluster's state to the flow tables of every node's switch, and what they count back.

It imports the testbed's words (`testbed.model`) and nothing else of it; it learns of functions and instances from the
apiserver's watch stream, and asks the scaler over HTTP. Only what is here decides who may call whom; what a call
costs, or how many instances there are, is not its business.

Open `pipeline` first: the tables, as data. Then desired/, which fills them.

    directfaas   the Ryu app: OpenFlow and apiserver events in, to those who deal with them
    launcher     the process
    sdn          the one module that imports ryu
    watch        follows the apiserver's stream
    pipeline     tables, registers, priorities, cookies, reasons to drop
    rows         rows, groups and meters as values
    intents      cluster state -> who is there, at which port, and which calls are allowed
    policy/      a provider's own rules about calls
    desired/     intents and policies -> the rows that each node should hold
    switch/      from these rows to each switch, and back: one worker a switch
    hold/        calls to functions without an instance: held, released, reset, expired
    northbound/  the REST interface: what is so, what was counted, policies
    simulator    evaluates packets against rows, without a switch
"""
