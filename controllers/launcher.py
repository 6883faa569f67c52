"""Starts the controller: python -m controllers.launcher --apiserver URL --listen ADDRESS --lab-key FILE.

Prepares eventlet before anything else is imported; the rest is sdn.run's.
"""

# ruff: noqa: E402 - the order of the imports is the point

from __future__ import annotations

import os
import warnings

# Without a resolver of eventlet's own its import costs half: the controller speaks to addresses only, no names.
os.environ.setdefault("EVENTLET_NO_GREENDNS", "yes")
# eventlet announces its own retirement at import: that one warning only.
warnings.filterwarnings("ignore", message="(?s).*Eventlet is deprecated", category=Warning)

import eventlet

eventlet.monkey_patch()

import argparse
import logging
import sys

from testbed.model import addressing

SWITCHES = ",".join(map(addressing.management_ip, range(1, addressing.MAX_NODE + 1)))
"""The addresses that nodes have on the management network."""


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and run until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m controllers.launcher", description="The SDN controller.")
    parser.add_argument("--apiserver", default=addressing.APISERVER_URL, help="URL of the apiserver (%(default)s)")
    parser.add_argument("--scaler", default=addressing.SCALER_URL, help="URL of the scaler (%(default)s)")
    parser.add_argument(
        "--listen", default=addressing.CONTROL_PLANE_IP, help="address for OpenFlow and REST (%(default)s)"
    )
    parser.add_argument("--openflow-port", type=int, default=addressing.OPENFLOW_PORT, help="(%(default)s)")
    parser.add_argument("--rest-port", type=int, default=addressing.CONTROLLER_REST_PORT, help="(%(default)s)")
    parser.add_argument(
        "--switches", default=SWITCHES, help="addresses of the nodes, with commas: nobody else may speak OpenFlow"
    )
    parser.add_argument("--lab-key", required=True, help="file with the key of the lab's credentials")
    options = parser.parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")

    from controllers import sdn

    sdn.run(
        "controllers.directfaas",
        (options.listen, options.openflow_port),
        (options.listen, options.rest_port),
        options.switches.split(","),
        apiserver=options.apiserver,
        scaler=options.scaler,
        lab_key=options.lab_key,
    )


if __name__ == "__main__":
    main()
