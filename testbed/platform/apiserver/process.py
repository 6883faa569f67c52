"""The apiserver: the faas-provider contract and `GET /watch`, over HTTP, in front of the cluster state.

It stands for kube-apiserver and faas-netes. It keeps what is wanted and what node agents report; it
starts no process and carries no invocation. This module puts the routes together, behind the guard that says who may
ask for what, and is the process: run it as
`python -m testbed.platform.apiserver.process --cluster FILE --database FILE --images DIR --logs DIR
--lab-key FILE [--basic-auth DIR] [--lab NAME] --listen HOST:PORT`.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from aiohttp import web

from testbed.model.audiences import Refusal, Server
from testbed.model.cluster import DEFAULT_NAMESPACE, Host
from testbed.model.credentials import Keyring
from testbed.model.watch import HEARTBEAT_S
from testbed.network.process.cgroups import Cgroups
from testbed.platform.apiserver.cluster_state import ClusterKeeper
from testbed.platform.apiserver.routes import http
from testbed.platform.apiserver.routes.functions import FunctionRoutes
from testbed.platform.apiserver.routes.instances import InstanceRoutes
from testbed.platform.apiserver.routes.logs import LogRoutes
from testbed.platform.apiserver.routes.metrics import MetricRoutes
from testbed.platform.apiserver.routes.namespaces import NamespaceRoutes
from testbed.platform.apiserver.routes.secrets import SecretRoutes
from testbed.platform.apiserver.routes.watch import WatchRoutes
from testbed.platform.common import identity
from testbed.platform.common.function_logs import LogFolder
from testbed.platform.common.guard import Guard

VERSION = {"commit_message": "", "sha": "", "release": "0.1.0"}
LARGEST_BODY_BYTES = 4 << 20
"""A secret of the largest size, as base64, fits."""


class Apiserver:
    """The HTTP routes. One event loop, one cluster state; watchers are told of every change at once."""

    def __init__(
        self,
        cluster: ClusterKeeper,
        images_dir: Path,
        logs_dir: Path,
        keyring: Keyring,
        default_namespace: str = DEFAULT_NAMESPACE,
        heartbeat_s: float = HEARTBEAT_S,
        groups: Cgroups | None = None,
    ) -> None:
        self._guard = Guard(
            Server.APISERVER, keyring, lambda: cluster.state.deployments, _refused, default_namespace
        )  # fmt: skip
        self._watch = WatchRoutes(cluster, heartbeat_s)
        self._logs = LogRoutes(cluster, LogFolder(logs_dir), default_namespace)
        self._metrics = MetricRoutes(cluster)
        parts = (
            FunctionRoutes(cluster, images_dir, default_namespace, groups),
            NamespaceRoutes(cluster, default_namespace, keyring.key),
            SecretRoutes(cluster, default_namespace),
            InstanceRoutes(cluster),
            self._watch,
            self._logs,
            self._metrics,
        )
        self._routes = [route for part in parts for route in part.routes()]

    def application(self) -> web.Application:
        """The aiohttp application with all routes."""
        app = web.Application(
            middlewares=[self._guard.middleware, self._metrics.count, http.errors, self._watch.announce],
            client_max_size=LARGEST_BODY_BYTES,
        )
        app.cleanup_ctx.append(self._metrics.keep_saving)
        app.on_shutdown.append(self._stop)
        app.add_routes([web.get("/healthz", _healthz), web.get("/system/info", _info, allow_head=False)])
        app.add_routes(self._routes)
        self._guard.check_routes(app)
        return app

    async def _stop(self, _: web.Application) -> None:
        self._watch.stop()
        self._logs.stop()


def _refused(refusal: Refusal) -> web.Response:
    return web.Response(status=refusal.status, text=f"{refusal.reason}\n")


async def _healthz(_: web.Request) -> web.Response:
    return web.Response(text="OK")


async def _info(_: web.Request) -> web.Response:
    return web.json_response({"provider": "directfaas-testbed", "version": VERSION, "orchestration": "mininet"})


def read_cluster(file: Path) -> tuple[tuple[int, ...], tuple[Host, ...]]:
    """The nodes and static hosts of the lab, as its daemon wrote them."""
    data = json.loads(file.read_text())
    return tuple(data["nodes"]), tuple(Host.from_json(host) for host in data["hosts"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="testbed.platform.apiserver.process", description=__doc__)
    parser.add_argument("--cluster", type=Path, required=True, help="JSON file with the lab's nodes and hosts")
    parser.add_argument("--database", type=Path, required=True, help="SQLite file; made when it is missing")
    parser.add_argument("--images", type=Path, required=True, help="folder of built images")
    parser.add_argument("--logs", type=Path, required=True, help="folder of the instances' output")
    parser.add_argument("--lab-key", type=Path, required=True, help="file with the key of the lab's credentials")
    parser.add_argument("--basic-auth", type=Path, help="folder with the operator's basic-auth-user and -password")
    parser.add_argument("--lab", help="name of the lab whose cgroups tell what functions use")
    parser.add_argument("--listen", required=True, metavar="HOST:PORT")
    arguments = parser.parse_args()
    host, _, port = arguments.listen.rpartition(":")
    nodes, hosts = read_cluster(arguments.cluster)
    keyring = identity.keyring(arguments.lab_key, arguments.basic_auth)
    cluster = ClusterKeeper(arguments.database, nodes, hosts)
    groups = Cgroups.of_lab(arguments.lab) if arguments.lab else None
    namespace = os.environ.get("function_namespace", DEFAULT_NAMESPACE)  # noqa: SIM112 - OpenFaaS spells it so

    async def application() -> web.Application:
        return Apiserver(cluster, arguments.images, arguments.logs, keyring, namespace, groups=groups).application()

    web.run_app(application(), host=host, port=int(port), access_log=None, shutdown_timeout=1.0, print=None)
    cluster.close()


if __name__ == "__main__":
    main()
