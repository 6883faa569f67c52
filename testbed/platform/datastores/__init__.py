"""The servers that an application keeps its data in, as programs that run in an instance's sandbox.

Which stores there are, who owns them and what their names are is `testbed.model.datastores`; that one is started and
supervised like a function is the node agent's (`testbed.platform.agent.stores`).

    mariadb  a MariaDB server on a data folder
    mail     takes every message by SMTP and delivers none
    access   a way in past the network, for seeding, resets and checks
"""
