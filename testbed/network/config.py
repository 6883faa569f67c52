"""How a lab is to be built: what its runner writes down and its daemon reads. Nothing here starts anything."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class LabConfig:
    """What the runner tells the daemon. `scaler` is on, dry-run or off.

    `listen_fd`: the host's listening socket for the gateway. `gateway_command`: a program to take the
    gateway's place, run in `working_folder`; empty for our own.
    """

    name: str
    state_folder: Path
    datapath: str
    nodes: tuple[int, ...]
    listen_fd: int | None
    gateway_environment: dict[str, str]
    delay_ms: float
    scaler: str
    scaler_preset: str
    gateway_command: tuple[str, ...] = ()
    working_folder: str = "/"

    def save(self, path: Path) -> None:
        path.write_text(json.dumps({**asdict(self), "state_folder": str(self.state_folder)}))

    @classmethod
    def load(cls, path: Path) -> LabConfig:
        data = json.loads(path.read_text())
        tuples = {name: tuple(data[name]) for name in ("nodes", "gateway_command")}
        return cls(**{**data, **tuples, "state_folder": Path(data["state_folder"])})
