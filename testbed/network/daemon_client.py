"""A client of a running lab's daemon: hosts, namespaces, trunks, components.

It can be used from any process that sees the lab's socket; the platform has a client of its own.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from testbed.model import errors
from testbed.network import protocol

TIMEOUT_S = 60.0


class LabClient:
    """One lab's daemon. Each call opens a connection of its own, so threads may share a client."""

    def __init__(self, socket_path: Path | str) -> None:
        self.socket_path = Path(socket_path)

    def status(self) -> dict[str, Any]:
        """Name, datapath, phase ("starting", "ready", or "failed" with "reason"), components, uptime."""
        return self._ask("status")

    def add_host(self, name: str, node: int, eip: str) -> None:
        """Make a Mininet host on a node's bridge. LabError when the name is taken."""
        self._ask("add_host", name=name, node=node, eip=eip)

    def delete_host(self, name: str) -> None:
        self._ask("delete_host", name=name)

    def allow_refill(self, allowed: bool) -> None:
        """Whether the lab may replace the prepared sandboxes that were taken: a measurement may forbid it meanwhile."""
        self._ask("refill", allowed=allowed)

    def hosts(self) -> dict[str, dict[str, Any]]:
        """Every host: {"node", "eip", "pid"}; the pid is the one inside the lab."""
        return self._ask("hosts")

    def has_host(self, name: str) -> bool:
        """Whether there is a host of this name; cheap, however many there are."""
        return self._ask("has_host", name=name)

    def netns(self, name: str) -> int:
        """An open descriptor of the network namespace of a host, "node<n>" or "root"; the caller closes it."""
        return self._call("netns", name=name)[1][0]

    def pid(self, name: str) -> int:
        """The process, as numbered inside the lab, that holds a host's or a node's namespaces."""
        return self._ask("pid", name=name)

    def links(self) -> list[dict[str, Any]]:
        """Every trunk with the settings that are in force: a, b, delay_ms, jitter_ms, loss_pct, rate_mbit, readback."""
        return self._ask("links")

    def set_link(self, a: int, b: int, **settings: float) -> None:
        """Change delay_ms, jitter_ms, loss_pct or rate_mbit of a trunk, both directions."""
        self._ask("set_link", a=a, b=b, settings=settings)

    def restart(self, component: str, environment: Mapping[str, str] | None = None) -> None:
        """Restart a component ("gateway", "controller", "s2", …) with additions to its environment."""
        self._ask("restart", name=component, environment=dict(environment or {}))

    def keep_away(self, name: str, seconds: float) -> None:
        """End a component; the lab starts it again so many seconds later, or when it is restarted before."""
        self._ask("keep_away", name=name, seconds=seconds)

    def _ask(self, operation: str, **arguments: Any) -> Any:
        return self._call(operation, **arguments)[0]

    def _call(self, operation: str, **arguments: Any) -> tuple[Any, list[int]]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT_S)
            try:
                connection.connect(str(self.socket_path))
                protocol.send(connection, {"operation": operation, "arguments": arguments})
                answer, fds = protocol.receive(connection)
            except PermissionError:
                raise errors.EnvironmentProblem("the lab belongs to root; use sudo") from None
            except OSError as error:
                raise errors.LabError(
                    f"the lab behind {self.socket_path} does not answer ({error}); see `testbed status`"
                ) from error
        if "error" in answer:
            raise getattr(errors, answer["kind"])(answer["error"])
        return answer["result"], fds
