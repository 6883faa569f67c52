"""The node agent: runs the instances that the apiserver wants on one node. It stands for the kubelet.

How many instances there are, and where, the apiserver decides; who may reach them, the controller.

Open `keeper` first: the life of one instance.

    process           the program: follows the watch, one keeper an instance
    keeper            one instance from sandbox to removal, in a thread of its own; what follows when its process ends
    launch            what an instance is started with: command, environment, limits, secrets
    function_process  its process: how it is started, adopted after a restart, and ended
    probe             is it ready, who is connected
    stores            what is different for stores, and for their owners
    control_plane     what is asked of apiserver and controller
    rotation          keeps output within bounds
"""
